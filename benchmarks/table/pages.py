"""The rows as people read them: Markdown, and a page that needs no other file and sorts by click, with the pictures in it."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pictures
from lists import Asked

from segline.card import ModelCard
from segline.files import whole
from segline.layout import ModelFolder

Found = Mapping[str, Any]
"""What is kept of one row."""


@dataclass(frozen=True)
class Column:
    """`value` is what is sorted by, `text` what is shown; None: not known."""

    title: str
    value: Callable[[Found], Any]
    text: Callable[[Any], str] = str


def training_of(folder: ModelFolder) -> dict[str, Any]:
    """What the card says of a training beside its seconds."""
    training = ModelCard.read(folder.card).training
    return {key: training[key] for key in ("epochs", "best_epoch", "precision")}


def write(asked: Asked, kept: Mapping[str, Found], target: Path) -> None:
    """`<target>.md`, `<target>.html` and the pictures, of the rows of the list that were measured with its settings."""
    found = {row.name: kept[row.name] for row in asked.rows if row.name in kept and kept[row.name].get("settings") == row.settings}
    of_data = {name: [one for one in found.values() if one["data"] == name] for name in asked.data}
    drawn = {name: pictures.write(rows, target.with_name(f"{target.name}-{name}.png")) for name, rows in of_data.items() if rows}
    lacking = [row.name for row in asked.rows if row.name not in found]
    with whole(target.with_name(f"{target.name}.md")) as file:
        file.write_text(_markdown(found, lacking, drawn), encoding="utf-8")
    with whole(target.with_name(f"{target.name}.html")) as file:
        file.write_text(_page(target.name, found, lacking, drawn), encoding="utf-8")


def _columns(found: Mapping[str, Found]) -> list[Column]:
    metrics = {one["metric"] for one in found.values()}
    figure = metrics.pop() if len(metrics) == 1 else "figure"
    return [
        Column("data", lambda one: one["data"]),
        Column("architecture", lambda one: one["architecture"]),
        Column("start", lambda one: one["start"]),
        Column("share", lambda one: one["share"], lambda share: f"{100 * share:g} %"),
        Column("images", lambda one: one["images_trained_on"]),
        Column(figure, lambda one: one["value"], lambda value: f"{value:.3f}"),
        Column("interval", _interval, lambda interval: interval[1]),
        Column("minutes", lambda one: _scaled(one["training_s"], 60), lambda value: f"{value:.1f}"),
        Column("core minutes", lambda one: sum(one["core_minutes"].values()), lambda value: f"{value:.1f}"),
        Column("PyTorch ms", lambda one: one["torch_ms"], lambda value: f"{value:.1f}"),
        Column("ONNX ms", lambda one: one["onnx_ms"], lambda value: f"{value:.1f}"),
        Column("memory MB", lambda one: _scaled(one["memory_bytes"], 1e6), lambda value: f"{value:.0f}"),
        Column("parameters M", lambda one: _scaled(one["parameters"], 1e6), lambda value: f"{value:.1f}"),
        Column("multiply-adds G", lambda one: _scaled(one["multiply_adds"], 1e9), lambda value: f"{value:.2f}"),
        Column("licence of the code", lambda one: one["code_licence"]),
        Column("of the weights", lambda one: one["weights_licence"]),
        Column("of the images", lambda one: one["data_licence"]),
        Column("commit", lambda one: one["commit"][:8]),
    ]


def _interval(one: Found) -> tuple[float, str] | None:
    """The lower end, by which it is sorted, and both."""
    return None if one["low"] is None else (one["low"], f"{one['low']:.3f} to {one['high']:.3f}")


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _cells(one: Found, columns: Sequence[Column]) -> list[tuple[Any, str]]:
    """What each column sorts by and shows."""
    cells = []
    for column in columns:
        value = column.value(one)
        shown = "" if value is None else column.text(value)
        cells.append((value[0] if isinstance(value, tuple) else value, shown))
    return cells


def _about(found: Mapping[str, Found], lacking: Sequence[str]) -> list[str]:
    """Sentences on what the figures are of."""
    sentences = []
    for data in dict.fromkeys(one["data"] for one in found.values()):
        one = next(one for one in found.values() if one["data"] == data)
        size = "" if one["image_size"] is None else f", times are of one image of {one['image_size'][0]}×{one['image_size'][1]}"
        sentences.append(f"{data}: {one['metric']} on {one['images']} images of {one['split']}, with the bootstrap's 95 % interval over images{size}.")
    machines = {(one["machine"]["processor"], one["device"], one["threads"][1]) for one in found.values()}
    for processor, device, threads in sorted(machines, key=str):
        sentences.append(f"Measured on {processor}, trained on {device}, predicted with {threads} thread{'' if threads == 1 else 's'}.")
    if lacking:
        number = len(lacking)
        sentences.append(f"{number} row{' is' if number == 1 else 's are'} not measured yet: {', '.join(lacking)}.")
    return sentences


def _markdown(found: Mapping[str, Found], lacking: Sequence[str], drawn: Mapping[str, Sequence[Path]]) -> str:
    columns = _columns(found)
    lines = ["| " + " | ".join(column.title for column in columns) + " |", "|" + "---|" * len(columns)]
    for one in found.values():
        lines.append("| " + " | ".join(shown.replace("|", "\\|") for _, shown in _cells(one, columns)) + " |")
    lines += ["", *_about(found, lacking)]
    for name, files in drawn.items():
        lines += ["", *(f"![{name}]({file.name})" for file in files)]
    return "\n".join(lines) + "\n"


_STYLE = """
:root{--paper:#fff;--ink:#1c2630;--quiet:#64707c;--line:#dde3e8;--panel:#f5f7f9;--mark:#3a78b5}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e4e9ee;--quiet:#95a1ad;--line:#303841;--panel:#1d2329;--mark:#5d9fdc}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1500px;margin:0 auto;padding:24px}h1{font-size:24px;margin:0 0 8px}h2{font-size:18px;margin:32px 0 8px}p{margin:4px 0;color:var(--quiet)}
label{margin-right:16px;color:var(--quiet)}
select{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:2px 6px}
.scroll{overflow-x:auto;margin-top:12px}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}.word{text-align:left}
th button{all:unset;cursor:pointer;color:var(--quiet);font-weight:500}th button:focus-visible{outline:2px solid var(--mark)}
th[aria-sort] button{color:var(--mark)}th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
tbody tr:hover{background:var(--panel)}img{max-width:100%;background:#fff;border-radius:8px;margin:6px 12px 6px 0}
"""

_SCRIPT = """
const body = document.querySelector("tbody"), heads = [...document.querySelectorAll("th")];
function key(row, column) {
  const cell = row.cells[column], value = cell.dataset.value;
  return value === undefined ? null : cell.className === "word" ? value : Number(value);
}
function sort(column) {
  const down = heads[column].getAttribute("aria-sort") === "ascending";
  heads.forEach(head => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].sort((a, b) => {
    const first = key(a, column), second = key(b, column);
    if (first === null || second === null) return (first === null) - (second === null);
    return (first < second ? -1 : first > second ? 1 : 0) * (down ? -1 : 1);
  });
  body.append(...rows);
}
heads.forEach((head, column) => head.firstChild.addEventListener("click", () => sort(column)));
const choices = [...document.querySelectorAll("select")];
function choose() {
  for (const row of body.rows) row.hidden = choices.some(one => one.value && row.cells[Number(one.dataset.column)].textContent !== one.value);
}
choices.forEach(one => one.addEventListener("change", choose));
"""


def _page(name: str, found: Mapping[str, Found], lacking: Sequence[str], drawn: Mapping[str, Sequence[Path]]) -> str:
    columns = _columns(found)
    rows = [_cells(one, columns) for one in found.values()]
    numbers = [all(not isinstance(row[place][0], str) for row in rows) for place in range(len(columns))]
    head = "".join(_head(column.title, is_number) for column, is_number in zip(columns, numbers, strict=True))
    body = "\n".join("<tr>" + "".join(_cell(*cell, is_number) for cell, is_number in zip(row, numbers, strict=True)) + "</tr>" for row in rows)
    choices = "".join(_choice(columns[place].title, place, [row[place][1] for row in rows]) for place in range(4))
    sentences = "".join(f"<p>{html.escape(sentence)}</p>\n" for sentence in _about(found, lacking))
    shown = "".join(f"<h2>{html.escape(data)}</h2>\n{''.join(_image(data, file) for file in files)}\n" for data, files in drawn.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>Table {html.escape(name)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n'
        f"<h1>Table {html.escape(name)}</h1>\n{sentences}<p>A click on a title sorts by it, a second one the other way round.</p>\n<p>{choices}</p>\n"
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n{shown}</main>\n'
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _head(title: str, is_number: bool) -> str:
    return f'<th{"" if is_number else " class=word"} scope="col"><button>{html.escape(title)}</button></th>'


def _cell(value: Any, shown: str, is_number: bool) -> str:
    given = "" if value is None else f' data-value="{html.escape(str(value))}"'
    return f"<td{'' if is_number else ' class=word'}{given}>{html.escape(shown)}</td>"


def _choice(title: str, place: int, shown: Sequence[str]) -> str:
    options = "".join(f"<option>{html.escape(one)}</option>" for one in dict.fromkeys(shown))
    return f'<label>{html.escape(title)} <select data-column="{place}"><option value="">all</option>{options}</select></label>'


def _image(data: str, file: Path) -> str:
    return f'<img alt="{html.escape(data)}" src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}">'
