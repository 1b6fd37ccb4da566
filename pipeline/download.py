"""download: images → data/raw. Generates the shapes, or lists the user's folder with sizes and hashes; see `data:` in params.yaml."""

import here  # isort: skip

from segline.data.download import download
from segline.data.sources import root_of
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan import data


def main() -> None:
    checkout = Checkout(here.ROOT)
    plan = data.read(checkout.data_plan.download)
    download(plan.settings, root=root_of(plan.settings, checkout.raw, checkout.main, checkout.root), seed=plan.seed, target=checkout.raw)


if __name__ == "__main__":
    with told_in_sentences():
        main()
