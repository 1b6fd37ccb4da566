"""plan: what each stage of each model uses, resolved; a stage reruns when its plan changed. By hand: `python pipeline/plan.py`."""

import here  # isort: skip

from segline import params
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan.stage import write_plans


def main() -> None:
    checkout = Checkout(here.ROOT)
    write_plans(params.read(checkout.params), checkout)


if __name__ == "__main__":
    with told_in_sentences():
        main()
