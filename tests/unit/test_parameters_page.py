"""docs/parameters.md: it is what the settings say, it names everything, and every key of it says what it means."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from segline import documentation
from segline.cli import main
from segline.data.formats.catalog import FORMATS
from segline.errors import ParametersError
from segline.losses.catalog import LOSSES
from segline.metrics.catalog import METRICS
from segline.models.catalog import ARCHITECTURES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "parameters.md"
PARTS = list(documentation.parts())


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text() == documentation.page(), "run `segline parameters --out docs/parameters.md`"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.address)
def test_every_key_says_what_it_means(part: documentation.Part) -> None:
    unsaid = [row[0] for row in part.rows if not row[-1]]
    assert not unsaid, f"put a comment behind these fields: {', '.join(unsaid)} ({part.title})"
    shown = [part.text, *(cell for row in part.rows for cell in row)]
    assert not [text for text in shown if "<" in re.sub(r"`[^`]*`|< \d", "", text)], "outside of `…`, Markdown takes < for HTML"


@pytest.mark.parametrize("table", [ARCHITECTURES, FORMATS, LOSSES], ids=["architectures", "formats", "losses"])
def test_every_word_has_a_part(table: dict[str, str]) -> None:
    assert set(table) <= {part.address.rpartition(".")[2] for part in PARTS}


def test_every_metric_has_a_row() -> None:
    [part] = [part for part in PARTS if part.address == "evaluate.metrics"]
    assert [row[0] for row in part.rows] == [f"`{word}`" for word in METRICS]


@pytest.mark.parametrize(
    ("asked", "heading", "row"),
    [
        ("unet", "### `models.<name>`, with `arch: unet`", "| `encoder` | text | `resnet18` |"),
        ("models.unet.train", "### `models.<name>.train`, with `arch: unet`", "| `train.lr` | number > 0 | `0.001` |"),
        ("models.maskrcnn.input.fit", "### `models.<name>.input.fit`, with `arch: maskrcnn`", "| `shorter_side` |"),
        ("models.mine.train.lr", "### `models.<name>.train`", "| `lr` | number > 0 | `0.001` | peak learning rate |"),
        ("train.lr", "### `models.<name>.train`", "| `lr` |"),
        ("loss", "#### `loss.dice`", "| `class_weights` | `none`, `balanced`, `median_frequency`, `enet`, `auto` or list of numbers ≥ 0 | `none` |"),
        ("camvid", "### `data`, with `format: camvid`", "| `ignore` | list of integers | — |"),
        ("train.epochs", "### `models.<name>.train`", "| `epochs` | integer ≥ 1 or `auto` | `30` |"),
        ("maskrcnn", "### `models.<name>`, with `arch: maskrcnn`", "| `anchors` | section or `auto` | — |"),
        ("evaluate", "### Metrics", "| `overlays` | integer 0 … 50 | `4` |"),
        ("promote", "## `promote.<model>`", "| `confidence` | number ≥ 0.5 and < 1 | — |"),
        ("seed", "## `seed`", "| `seed` | integer ≥ 0 and < 2147483648 | `0` |"),
        ("iou", "### Metrics", "| `iou` | semantic | yes | `miou` |"),
    ],
)
def test_a_part_or_a_key_alone(asked: str, heading: str, row: str) -> None:
    text = documentation.excerpt(asked)
    assert heading in text.splitlines()
    assert row in text
    assert len(text) < len(documentation.page()) / 2


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ParametersError, match=r"no part and no key 'overlay'\. Did you mean overlays"):
        documentation.excerpt("overlay")


def test_the_command_prints_and_writes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for arguments in (["segline", "parameters"], ["segline", "parameters", "--out", str(tmp_path / "docs" / "page.md")]):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code
    assert capsys.readouterr().out == documentation.page() == (tmp_path / "docs" / "page.md").read_text()
