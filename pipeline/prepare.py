"""prepare: data/raw → data/prepared. Checks and splits the source, and writes it in the one layout that every later stage reads.

What it found stands in data/check/check.html, also where it had to stop; data/check/samples.png shows some images with their truth.
"""

import here  # isort: skip

from segline import conveyor
from segline.data.prepare import prepare
from segline.data.public.fetch import at_hand
from segline.errors import told_in_sentences
from segline.inspection.write import write
from segline.layout import Checkout
from segline.plan import data


def main() -> None:
    checkout = Checkout(here.ROOT)
    plan = data.read(checkout.data_plan.prepare)
    root = at_hand(plan.settings, checkout, mirror=conveyor.mirror(checkout))
    prepare(plan.settings, raw=checkout.raw, root=root, target=checkout.prepared, shown=lambda survey: write(survey, checkout.check))


if __name__ == "__main__":
    with told_in_sentences():
        main()
