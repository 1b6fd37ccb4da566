"""history.csv: what was written is read again; what cannot be read gets a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from segline import history
from segline.errors import ModelError

ROWS = [
    {"epoch": 1, "train_loss": 1.5, "lr": 0.1},
    {"epoch": 2, "train_loss": 0.1 + 0.2, "val_miou": 1 / 3, "lr": 1e-05},
    {"epoch": 3, "val_miou": 0.0},
]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "unet" / "history.csv"
    history.write(file, ROWS)
    assert file.read_text().splitlines()[0] == "epoch,train_loss,lr,val_miou"
    assert file.read_text().splitlines()[1] == "1,1.5,0.1,"
    assert history.read(file) == ROWS
    history.write(file, ROWS[:1])
    assert history.read(file) == ROWS[:1]
    assert [one.name for one in file.parent.iterdir()] == ["history.csv"]


def test_a_training_without_epochs_has_no_rows(tmp_path: Path) -> None:
    history.write(tmp_path / "history.csv", [])
    assert history.read(tmp_path / "history.csv") == []


def test_a_missing_file_names_the_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no history\.csv; run `dvc repro -f train@unet`"):
        history.read(tmp_path / "unet" / "history.csv")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epoch,loss\n1,low\n", "cannot be read"),
        ("epoch,loss\n1,2,3\n", "cannot be read"),
        (b"epoch,loss\n1,\xff\xfe\n", "cannot be read"),
        ("epoch,loss\n1," + "9" * 200_000 + "\n", "cannot be read"),
        ("loss,lr\n1,2\n", "has a row without an epoch"),
        ("epoch,loss\n1,2\n,2\n", "has a row without an epoch"),
    ],
)
def test_a_broken_file_gets_a_sentence(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    file = tmp_path / "unet" / "history.csv"
    file.parent.mkdir()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError, match=rf"{sentence}.*run `dvc repro -f train@unet` to make it anew"):
        history.read(file)
