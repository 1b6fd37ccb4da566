"""download: images → data/raw. Generates the shapes, fetches a public data set, lists the files of a folder with their hashes; see `data:` in params.yaml."""

import here  # isort: skip

from segline import conveyor
from segline.data.download import download
from segline.data.public.fetch import at_hand
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan import data


def main() -> None:
    checkout = Checkout(here.ROOT)
    plan = data.read(checkout.data_plan.download)
    root = at_hand(plan.settings, checkout, mirror=conveyor.mirror(checkout))
    download(plan.settings, root=root, seed=plan.seed, target=checkout.raw)


if __name__ == "__main__":
    with told_in_sentences():
        main()
