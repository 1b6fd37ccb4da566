"""Architectures × shares of the training images × starts × data sets: trained, scored, exported and tabulated by one command.

    python benchmarks/table/run.py benchmarks/table/here.yaml --place CAMVID=data/camvid --place ENCODER=encoder.pth [row ...]

The list says what is trained (see lists.py); all of it goes through the line's own stages, in clones of the commit with which `--work` began. A row that stands
in the results with the settings of today is not trained again, and a training that was cut off goes on where it stopped: after a kill, give the same command
again.
Several calls share the work of one list: each takes the rows that no other has begun. `--core N` runs a call on one core.
Beside the list, under its name: `.jsonl` (all that is known of each row), `.md` and `.html` (the table, on a page that sorts by click and needs no other file),
and pictures of each data set: the figure by the share of the images, and against the time of a prediction.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import lists  # noqa: E402
import pages  # noqa: E402
import results  # noqa: E402
import shares  # noqa: E402
from clone import ROOT, Clone, KeptLines, StageError, core_seconds, head, use_one_core  # noqa: E402
from filelock import FileLock, Timeout  # noqa: E402
from lists import Asked, Row  # noqa: E402

from segline import provenance  # noqa: E402
from segline.data.store import PreparedDataset  # noqa: E402
from segline.errors import ParametersError, told_in_sentences  # noqa: E402
from segline.layout import Checkout, ModelFolder  # noqa: E402
from segline.provenance import digest  # noqa: E402

_ENDED_BY_A_PERSON = (130, 143)
"""Exit codes of a stage that was interrupted: the rows behind it are not begun. One that the system killed, for memory as a rule, has failed alone."""


def main() -> int:
    """Exit code 0 when every row that was wanted is there, 1 when one failed, 2 for a wrong list or call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="what is trained")
    parser.add_argument("rows", nargs="*", help="which rows; default: all, in the order of the list")
    parser.add_argument("--place", action="append", default=[], metavar="WORD=PATH", help="the path of a word in capitals of the list")
    parser.add_argument("--work", type=Path, default=Path("table-work"), help="where clones, data and models lie (default %(default)s)")
    parser.add_argument("--out", type=Path, help="folder of the results; default: that of the list")
    parser.add_argument("--core", type=int, help="the one core to run on; default: all")
    given = parser.parse_intermixed_args()
    if given.core is not None:
        use_one_core(given.core)
    if not given.list.is_file():
        raise ParametersError(f"There is no list {given.list}; give the path of one, such as {HERE / 'here.yaml'}.")
    asked = lists.read(given.list, _places(given.place))
    lists.refuse_unknown(given.rows, asked.rows)
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if provenance.commit(ROOT) != _commit(work):
        print(f"Rows are trained by the code of commit {_commit(work)[:12]}, with which {work} began; remove it to begin anew with another.", file=sys.stderr)
    out = (given.out or given.list.parent).resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = KeptLines(out / f"{given.list.stem}.jsonl")
    wanted = [row for row in asked.rows if not given.rows or row.name in given.rows]
    failed = _train(asked, wanted, kept, work, out / given.list.stem)
    for name, why in failed.items():
        print(f"{name}: {why}. The same command tries it again.", file=sys.stderr)
    return 1 if failed else 0


def _places(given: list[str]) -> dict[str, Path]:
    wrong = [one for one in given if "=" not in one]
    if wrong:
        raise ParametersError(*(f"--place {one[:80]} lacks its path; write --place {one[:80]}=<path>." for one in wrong))
    return {word: Path(path).expanduser() for word, _, path in (one.partition("=") for one in given)}


def _train(asked: Asked, wanted: list[Row], kept: KeptLines, work: Path, target: Path) -> dict[str, str]:
    """Measure the rows that are not there yet, and write the table after each; why some failed, by their names."""
    failed: dict[str, str] = {}
    for row in wanted:
        with _alone(work / f"{row.name}.lock") as free:
            if not free or kept.has(row.name, row.settings):
                continue
            try:
                place = _place(asked, row, work)
            except StageError as error:
                raise SystemExit(error.exit_code) from None  # what is wrong with the list or its data was told
            try:
                kept.keep(row.name, _measured(place, row))
            except StageError as error:
                if error.exit_code in _ENDED_BY_A_PERSON:
                    raise SystemExit(error.exit_code) from None
                failed[row.name] = str(error)
        pages.write(asked, kept.read(), target)
    pages.write(asked, kept.read(), target)
    return failed


@contextmanager
def _alone(file: Path) -> Iterator[bool]:
    """Whether no other call is at it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _place(asked: Asked, row: Row, work: Path) -> Clone:
    """The clone that trains a row: its data set with its share of the images, prepared and planned for all rows of both."""
    name = f"{row.data}-{lists.percent(row.share)}"
    entries = [one for one in asked.rows if (one.data, one.share) == (row.data, row.share)]
    with FileLock(work / f"{name}.place.lock"):
        place = Clone(work / name)
        place.make(_commit(work))
        checkout = Checkout(place.folder)
        planned = checkout.prepared.parent / "table-planned.txt"
        text = f"{sorted(one.settings for one in entries)}\n"
        if planned.is_file() and planned.read_text() == text:
            return place
        shares.write(_source(asked, row.data, entries, work), row.share, asked.table.seed, checkout.prepared)
        dataset = PreparedDataset(checkout.prepared)
        held = dataset.info.scored == "val" or not dataset.info.counts.get("val")
        place.write_params(_params(asked, row.data, entries, images=dataset.info.counts["train"], held=held))
        place.stage("plan")
        planned.write_text(text)
    return place


def _source(asked: Asked, data: str, entries: list[Row], work: Path) -> PreparedDataset:
    """All of a data set, prepared in a clone of its own; the first stage says what is wrong with the entries."""
    with FileLock(work / f"{data}.place.lock"):
        place = Clone(work / data)
        place.make(_commit(work))
        prepared = Checkout(place.folder).prepared
        made = prepared.parent / "table-prepared.txt"
        text = f"{digest(asked.data[data])}\n"
        place.write_params(_params(asked, data, entries, images=1, held=False))
        known = made.is_file() and made.read_text() == text
        for stage in ("params",) if known else ("params", "download", "prepare"):
            place.stage(stage)
        made.write_text(text)
        return PreparedDataset(prepared)


def _commit(work: Path) -> str:
    """That all rows of a folder are trained by: of the day on which it was begun."""
    file = work / "commit.txt"
    with FileLock(work / "commit.lock"):
        if not file.is_file():
            file.write_text(f"{head()}\n")
        return file.read_text().strip()


def _params(asked: Asked, data: str, entries: list[Row], *, images: int, held: bool) -> dict[str, Any]:
    """What is written into params.yaml; images, held: see `lists.entry_for`."""
    models = {row.model: lists.entry_for(row, asked.table, images=images, held=held) for row in entries}
    return {"seed": asked.table.seed, "data": dict(asked.data[data]), "models": models, "evaluate": {"overlays": 1}, "promote": {}}


def _measured(place: Clone, row: Row) -> dict[str, Any]:
    from segline.leaderboard.standing import standing

    spent = {}
    for stage in ("train", "evaluate", "export"):
        before = core_seconds()
        place.stage(stage, row.model)
        spent[stage] = round((core_seconds() - before) / 60, 2)
    folder = ModelFolder(place.folder / "models" / row.model)
    training = pages.training_of(folder)
    around = {key: value for key, value in results.surroundings().items() if key != "commit"}
    told = {key: value for key, value in asdict(standing(folder)).items() if key not in ("model", "dataset", "lacking")}
    weights = str(row.entry.get("weights", ""))
    if weights:
        told["weights_licence"] = told["weights_licence"].replace(weights, Path(weights).name)  # where the file lies is nothing to who reads the table
    return {
        **row.told(),
        "images_trained_on": PreparedDataset(Checkout(place.folder).prepared).info.counts["train"],
        **told,
        **training,
        "core_minutes": spent,  # of this call; a training that went on has cost more
        "commit": place.commit,
        **around,
    }


if __name__ == "__main__":
    with told_in_sentences():
        sys.exit(main())
