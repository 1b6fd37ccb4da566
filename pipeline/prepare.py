"""prepare: data/raw → data/prepared. Checks and splits the source, and writes it in the one layout that every later stage reads."""

import here  # isort: skip

from segline import params
from segline.data.download import locate
from segline.data.prepare import prepare
from segline.errors import told_in_sentences
from segline.layout import Checkout


def main() -> None:
    with told_in_sentences():
        checkout = Checkout(here.ROOT)
        values = params.read(checkout.params)
        data = values.data
        prepare(
            raw=checkout.raw,
            root=locate(data.root, checkout.main, checkout.root) if data.dataset == "folder" else checkout.raw,
            name=values.data_name(),
            classes=data.classes,
            ignore=data.ignore,
            method=data.splits.method,
            val=data.splits.val,
            test=data.splits.test,
            seed=values.seed,
            target=checkout.prepared,
        )


if __name__ == "__main__":
    main()
