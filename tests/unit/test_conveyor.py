"""What DVC needs of params.yaml beyond its being valid: the folder of the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from segline import conveyor
from segline.errors import ParametersError
from segline.layout import Checkout


def checkout(folder: Path, source: str, more: str = "format: coco") -> Checkout:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(f"data: {{source: '{source}', {more}}}\nmodels: {{a: {{arch: unet}}}}\n")
    return Checkout(folder)


def problems(folder: Path, source: str, more: str = "format: coco") -> tuple[str, ...]:
    with pytest.raises(ParametersError) as told:
        conveyor.check(checkout(folder, source, more))
    return told.value.problems


@pytest.mark.parametrize("source", ["images", "../../elsewhere", "ABSOLUTE"])
def test_a_folder_in_data_anywhere_else_or_given_whole(tmp_path: Path, source: str) -> None:
    for place in ("line/data/images", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
    conveyor.check(checkout(tmp_path / "line", source.replace("ABSOLUTE", str(tmp_path / "elsewhere"))))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "data.source: the folder 'nowhere' does not exist. Give the path of the folder that holds your images."),
        ("shapess", "Generated images are `source: shapes`."),
        ("pictures", "relative folders count from data/; write '../pictures'"),
        ("~/images", f"data.source: DVC does not expand '~'; write '{Path.home() / 'images'}'"),
        (".", "data.source is '.', which is or holds a folder that the line writes (data/raw)"),
        ("prepared/train", "data.source is 'prepared/train', which is or holds a folder that the line writes (data/prepared)"),
        ("../models/unet", "which is or holds a folder that the line writes (models)"),
        ("", "data.source is '', which is or holds a folder"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, source: str, sentence: str) -> None:
    (tmp_path / "pictures").mkdir()
    [told] = problems(tmp_path, source)
    assert sentence in told


def test_it_is_told_beside_the_other_mistakes_of_the_file(tmp_path: Path) -> None:
    told = "\n".join(problems(tmp_path, "nowhere", "format: coco, clases: [a]"))
    assert "did you mean 'classes'?" in told
    assert "the folder 'nowhere' does not exist" in told


def test_a_relative_folder_outside_a_copy_means_another_one(tmp_path: Path) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"
    [told] = problems(copy, "../../images")
    assert f"For `--temp` and `--queue` write it as an absolute path: '{tmp_path.parent / 'images'}'" in told


def test_dvc_needs_the_section_written_out(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("models: {a: {arch: unet}}\n")
    with pytest.raises(ParametersError, match=r"data is missing; DVC knows no defaults, so write it out: `data: \{source: shapes\}`"):
        conveyor.check(Checkout(tmp_path))
