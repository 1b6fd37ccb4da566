"""Tables and figures: sorted as said, drawn for no, one and many classes, and equal for equal figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segline.drawing import confusion
from segline.drawing.confusion import confusion_picture
from segline.drawing.curves import history_picture
from segline.drawing.differences import Difference, differences_picture
from segline.drawing.precision_recall import precision_recall_picture
from segline.drawing.tables import class_picture, write_class_table, write_csv
from segline.drawing.tradeoff import Panel, Point, best, tradeoff_picture

RECALLS = np.linspace(0, 1, 101)


def _names(count: int) -> list[str]:
    return [f"a class with the long name {i}" for i in range(count)]


def _confusion(count: int, file: Path) -> None:
    matrix = np.random.default_rng(0).integers(0, 1000, (count, count))
    matrix[0] = 0  # a class without true pixels
    confusion_picture(matrix, _names(count), file)


def _classes(count: int, file: Path) -> None:
    front = [None if i == 0 else i / count for i in range(count)]
    class_picture(_names(count), {"IoU": front, "Dice": front}, file)


def _precision_recall(count: int, file: Path) -> None:
    curves = {name: RECALLS[::-1] ** (i + 1) for i, name in enumerate(_names(count))}
    precision_recall_picture(RECALLS, curves, curves, file)


def _history(count: int, file: Path) -> None:
    rows = [{"epoch": float(i), "train_loss": 1 / (i + 1), "lr": 0.1} for i in range(count)]
    for row in rows[1::2]:
        row |= {"val_loss": 0.5, "val_miou": row["epoch"] / 40}
    history_picture(rows, "miou", file)


def _differences(count: int, file: Path) -> None:
    lines = [Difference(f"group {i % 2}", name, i - 3, i - 4.5, i - 1.5) for i, name in enumerate(_names(count))]
    differences_picture(lines, title="miou", first="one", second="a model with a name that is far too long for an axis", file=file)


def _tradeoff(count: int, file: Path) -> None:
    points = [Point(name, 3.0 + i, 0.5 + i / 100, None if i % 2 else 0.4, None if i % 2 else 0.9, i or None) for i, name in enumerate(_names(count))]
    tradeoff_picture([Panel("miou on 3 images", "miou", points)], file)


@pytest.mark.parametrize("draw", [_confusion, _classes, _precision_recall, _history, _differences, _tradeoff])
@pytest.mark.parametrize("count", [1, 7, 30])
def test_figures_are_drawn_and_repeat(draw: Callable[[int, Path], None], count: int, tmp_path: Path) -> None:
    draw(count, tmp_path / "a.png")
    draw(count, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("count", [81, 150])
def test_figures_of_many_classes_can_be_seen_at_once(count: int, tmp_path: Path) -> None:
    _confusion(count, tmp_path / "confusion.png")
    _classes(count, tmp_path / "classes.png")
    for file, (widest, highest) in {"confusion.png": (2000, 2000), "classes.png": (3000, 1300)}.items():
        with Image.open(tmp_path / file) as picture:
            assert picture.width <= widest and picture.height <= highest, file


def test_of_many_classes_those_that_are_confused_are_shown() -> None:
    matrix = np.diag(np.full(81, 1000)).astype(np.int64)
    matrix[80, 3] = 500
    matrix[7, 80] = 2
    shown = confusion._most_confused(matrix)
    assert len(shown) == 30 and shown == sorted(shown) and {3, 7, 80} <= set(shown)
    others = [i for i in range(81) if i not in shown]
    together = confusion._put_together(matrix, shown, others)
    assert together.shape == (31, 31)
    assert together.sum() == matrix.sum()
    np.testing.assert_array_equal(together[:-1, :-1], matrix[np.ix_(shown, shown)])
    assert together[-1, -1] == 51_000
    assert confusion._most_confused(matrix[:30, :30]) == list(range(30))


@pytest.mark.parametrize(("count", "figures"), [(30, 30), (31, 30)])
def test_the_cell_in_which_other_classes_meet_is_empty(count: int, figures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds what these classes confuse among themselves beside what is right."""
    shown: list[np.ndarray] = []
    write = confusion._write_figures
    monkeypatch.setattr(confusion, "_write_figures", lambda axes, shares: (shown.append(shares), write(axes, shares)))
    confusion_picture(np.diag(np.full(count, 10)), _names(count), tmp_path / "confusion.png")
    assert np.count_nonzero(~np.isnan(shown[0].diagonal())) == figures
    assert np.isnan(shown[0]).sum() == (count > 30)


def test_nothing_to_draw_is_a_picture_too(tmp_path: Path) -> None:
    precision_recall_picture(RECALLS, {}, {}, tmp_path / "pr.png")
    class_picture([], {"IoU": [], "Dice": []}, tmp_path / "classes.png")
    history_picture([], "miou", tmp_path / "history.png")
    assert {file.name for file in tmp_path.iterdir()} == {"pr.png", "classes.png", "history.png"}


def test_class_tables_are_sorted_by_their_last_column(tmp_path: Path) -> None:
    write_class_table(tmp_path / "classes.csv", ["a", "b", "c", "d"], {"support": [1, 2, 0, 3], "iou": [0.5, 0.0, None, 0.9]})
    assert (tmp_path / "classes.csv").read_text() == "class,support,iou\nd,3,0.9\na,1,0.5\nb,2,0.0\nc,0,\n"


def test_csv_keeps_what_needs_quotes(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["name", "score"], [("a, b", 1), ("ä", 2.5)])
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == 'name,score\n"a, b",1\nä,2.5\n'


def test_what_is_beaten_in_figure_and_time_is_not_among_the_best() -> None:
    places = [(5.0, 0.7), (9.0, 0.7), (9.0, 0.8), (2.0, 0.5), (12.0, 0.6)]
    points = [Point(str(i), milliseconds, value, None, None, None) for i, (milliseconds, value) in enumerate(places)]
    assert [point.name for point in best(points)] == ["3", "0", "2"]
