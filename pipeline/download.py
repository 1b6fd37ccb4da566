"""download: images → data/raw. Generates the shapes, or lists the user's folder with sizes and hashes; see `data:` in params.yaml."""

import here  # isort: skip

from segline import params
from segline.data.download import download, locate
from segline.errors import told_in_sentences
from segline.layout import Checkout


def main() -> None:
    with told_in_sentences():
        checkout = Checkout(here.ROOT)
        values = params.read(checkout.params)
        data = values.data
        download(
            dataset=data.dataset,
            root=locate(data.root, checkout.main, checkout.root) if data.dataset == "folder" else checkout.raw,
            data_format=data.format,
            counts={"train": data.shapes.train, "val": data.shapes.val, "test": data.shapes.test},
            size=data.shapes.size,
            seed=values.seed,
            target=checkout.raw,
        )


if __name__ == "__main__":
    main()
