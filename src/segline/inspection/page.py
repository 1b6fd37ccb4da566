"""The page of a survey: one HTML file that needs no other, for light and dark screens."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np

from segline.data.findings import KINDS, Finding, Severity
from segline.data.store import BACKDROP, IGNORE, SPLITS
from segline.data.survey import Survey
from segline.inspection import charts, samples
from segline.inspection.pictures import Album
from segline_runtime.specification import ClassInfo

_SENTENCES = 20  # of a kind that are written out
_PICTURES = 6  # of a kind
_WORDS: dict[Severity, str] = {"error": "errors", "warning": "warnings", "note": "notes"}

_STYLE = """
:root{--paper:#fff;--ink:#1c2630;--quiet:#64707c;--line:#dde3e8;--panel:#f5f7f9;--bar:#3a78b5;--error:#c22;--warning:#a86500;--note:#35719f}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e4e9ee;--quiet:#95a1ad;--line:#303841;--panel:#1d2329;--bar:#5d9fdc;--error:#ff7b72;
--warning:#e3a94b;--note:#79b8e8}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 80px}
h1{font-size:26px;margin:0}h2{font-size:19px;margin:44px 0 10px;padding-bottom:6px;border-bottom:1px solid var(--line)}h3{font-size:15px;margin:0}
p{margin:6px 0}.quiet{color:var(--quiet)}code,.file{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:13px;overflow-wrap:anywhere}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:18px 0}.facts div{background:var(--panel);border-radius:8px;padding:10px 16px}
.facts b{display:block;font-size:20px}
.finding{border-left:4px solid var(--mark);background:var(--panel);border-radius:0 8px 8px 0;padding:10px 16px;margin:12px 0}
.error{--mark:var(--error)}.warning{--mark:var(--warning)}.note{--mark:var(--note)}.finding h3 span{color:var(--mark);font-weight:600}
.finding ul{margin:6px 0 2px;padding-left:20px}.finding li{overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--line);white-space:nowrap}th:first-child,td:first-child{text-align:left}
th{color:var(--quiet);font-weight:500;font-size:13px;position:sticky;top:0;background:var(--paper)}
.swatch{display:inline-block;width:13px;height:13px;border-radius:3px;margin-right:8px;vertical-align:-2px;border:1px solid var(--line)}
.share{width:26%;min-width:150px}.share div{position:relative;height:14px;background:var(--panel);border-radius:3px}
.share i{position:absolute;inset:0 auto 0 0;background:var(--bar);border-radius:3px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:24px}
svg{width:100%;max-width:560px;height:auto}svg text{font-size:12px;fill:var(--ink)}svg .quiet{fill:var(--quiet)}svg .bar{fill:var(--bar)}
svg .point{fill:var(--bar);fill-opacity:.45;stroke:var(--bar)}svg .axis{stroke:var(--line)}
.pictures{display:flex;flex-wrap:wrap;gap:12px;margin:10px 0}figure{margin:0;max-width:272px}
figure img{display:block;max-width:100%;border-radius:6px}figcaption{font-size:12px;color:var(--quiet);overflow-wrap:anywhere;margin-top:3px}
.class{margin:18px 0}.class h3{margin-bottom:4px}
nav a{margin-right:14px;color:var(--bar)}
"""


def page(survey: Survey, album: Album) -> str:
    """The whole page."""
    sections = [_head(survey), _problems(survey, album)]
    if survey.images:
        sections += [_classes(survey), _splits(survey), _sizes(survey), _samples(survey, album)]
    title = html.escape(f"Check of {survey.name}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(survey: Survey) -> str:
    objects = int(survey.class_objects().sum())
    facts = [("images", f"{len(survey.images):,}"), ("classes", f"{len(survey.classes)}")]
    if {"instances", "boxes"} & set(survey.truths):
        facts.append(("objects", f"{objects:,}"))
    facts += [(_WORDS[severity], f"{survey.findings.number(severity):,}") for severity in _WORDS]
    tiles = "".join(f"<div><b>{value}</b>{name}</div>" for name, value in facts)
    links = [
        ("problems", "What was found"),
        *([("classes", "Classes"), ("splits", "Splits"), ("sizes", "Sizes"), ("samples", "Samples")] * bool(survey.images)),
    ]
    nav = "".join(f'<a href="#{place}">{name}</a>' for place, name in links)
    truths = ", ".join(survey.truths) or "none that could be read"
    return (
        f"<h1>{html.escape(survey.name)}</h1>\n<p class=quiet>Layout <code>{html.escape(survey.format)}</code>, truth: {truths}</p>\n"
        f"<div class=facts>{tiles}</div>\n<nav>{nav}</nav>"
    )


def _problems(survey: Survey, album: Album) -> str:
    blocks = [_kind(kind, survey, album) for kind in KINDS if survey.findings.counts[kind]]
    return "<h2 id=problems>What was found</h2>\n" + ("\n".join(blocks) or "<p>Nothing: every file could be read, and nothing in it is odd.</p>")


def _kind(kind: str, survey: Survey, album: Album) -> str:
    """All findings of one kind: title, remedy, sentences and pictures."""
    about, number = KINDS[kind], survey.findings.counts[kind]
    found = survey.findings.of(kind)
    lines = "".join(f"<li>{html.escape(finding.sentence)}{_place(finding)}</li>" for finding in found[:_SENTENCES])
    more = f"<p class=quiet>… and {number - _SENTENCES:,} more.</p>" if number > _SENTENCES else ""
    shown = dict.fromkeys(file for finding in found[:_PICTURES] for file in (finding.image or finding.file, finding.beside) if file)
    drawn = [(file, album.plain(file)) for file in list(shown)[:_PICTURES]]
    return (
        f'<section class="finding {about.severity}"><h3>{html.escape(about.title)} <span>{number:,}</span></h3>'
        f"<p class=quiet>{html.escape(about.remedy)}</p><ul>{lines}</ul>{more}{_pictures(drawn)}</section>"
    )


def _place(finding: Finding) -> str:
    return f' <span class="quiet">({html.escape(finding.place)})</span>' if finding.place and finding.place not in finding.sentence else ""


def _pictures(drawn: Iterable[tuple[str, str | None]]) -> str:
    figures = [_figure(source, file) for file, source in drawn if source is not None]
    return f"<div class=pictures>{''.join(figures)}</div>" if figures else ""


def _figure(source: str, caption: str) -> str:
    said = html.escape(caption)
    return f'<figure><img src="{source}" alt="{said}" loading="lazy"><figcaption class=file>{said}</figcaption></figure>'


def _classes(survey: Survey) -> str:
    """A row for each class, the most frequent first."""
    pixels, images, objects = survey.class_pixels(), survey.class_images(), survey.class_objects()
    counted = int(pixels[:IGNORE].sum())
    masks, outlined = "index" in survey.truths, bool({"instances", "boxes"} & set(survey.truths))
    splits = list(survey.counts())
    by_split = {split: survey.class_images(split) for split in splits}
    weight = pixels if masks else objects
    order = sorted(survey.classes, key=lambda info: (-int(weight[info.id]), info.id))
    most = max([int(weight[info.id]) for info in survey.classes] + [1])
    sides = _median_sides(survey) if outlined else {}
    head = [
        "class",
        "pixels" if masks else "objects",
        "",
        "images",
        *(f"in {split}" for split in splits),
        *(["objects", "median side, px"] if outlined else []),
    ]
    rows = []
    for info in order:
        value = int(weight[info.id])
        share = f"{100 * value / counted:.2f} %" if masks and counted else f"{value:,}"
        bar = f'<td class=share><div><i style="width:{100 * value / most:.1f}%"></i></div></td>'
        cells = [f"<td>{_swatch(info)}{html.escape(info.name)}</td>", f"<td>{share}</td>", bar, f"<td>{int(images[info.id]):,}</td>"]
        cells += [f"<td>{int(by_split[split][info.id]):,}</td>" for split in splits]
        if outlined:
            side = sides.get(info.id)
            cells += [f"<td>{int(objects[info.id]):,}</td>", f"<td>{'' if side is None else f'{side:.0f}'}</td>"]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    ignored = f"<p class=quiet>Ignored: {100 * pixels[IGNORE] / pixels.sum():.2f} % of all pixels.</p>" if pixels[IGNORE] else ""
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return f"<h2 id=classes>Classes</h2>\n{ignored}<div class=scroll><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _median_sides(survey: Survey) -> dict[int, float]:
    """The median of the objects' sides, of squares of the same area, by class."""
    labels = np.concatenate([seen.labels for seen in survey.images])
    areas = np.concatenate([seen.areas for seen in survey.images])
    return {label: float(np.sqrt(np.median(areas[labels == label]))) for label in np.unique(labels).tolist()}


def _swatch(info: ClassInfo) -> str:
    colour = "transparent" if info.color == BACKDROP else "rgb({},{},{})".format(*info.color)
    return f'<span class=swatch style="background:{colour}"></span>'


def _splits(survey: Survey) -> str:
    outlined = bool({"instances", "boxes"} & set(survey.truths))
    rows = []
    for split in SPLITS:
        own = [seen for seen in survey.images if seen.split == split]
        if own:
            objects = sum(len(seen.labels) for seen in own)
            share = f"{100 * len(own) / len(survey.images):.1f} %"
            last = f"<td>{objects:,}</td>" if outlined else ""
            rows.append(f"<tr><td>{split}</td><td>{len(own):,}</td><td>{share}</td>{last}</tr>")
    heads = "".join(f"<th>{name}</th>" for name in ("split", "images", "share", *(["objects"] if outlined else [])))
    skipped = f"<p>{len(survey.skipped):,} of {survey.total:,} images were skipped.</p>" if survey.skipped else ""
    return f"<h2 id=splits>Splits</h2>\n{skipped}<div class=scroll><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _sizes(survey: Survey) -> str:
    sizes = [seen.size for seen in survey.images]
    distinct = len(set(sizes))
    height, width = (int(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    told = f"all {width}x{height}" if distinct == 1 else f"{distinct:,} sizes, median {width}x{height}"
    chart = charts.sizes(sizes, "sizes of the images") if distinct > 1 else ""
    blocks = [f"<div><h3>Images</h3><p class=quiet>{told}</p>{chart}</div>"]
    areas = [float(area) for seen in survey.images for area in seen.areas]
    if areas:
        labels, values = charts.bins(np.sqrt(areas).tolist())
        chart = charts.histogram(labels, values, "sizes of the objects")
        blocks.append(f"<div><h3>Objects</h3><p class=quiet>Side of a square of the object's area, pixels</p>{chart}</div>")
    return f"<h2 id=sizes>Sizes</h2>\n<div class=pair>{''.join(blocks)}</div>"


def _samples(survey: Survey, album: Album) -> str:
    """Some images of each class, in which it is marked."""
    number = samples.per_class(len(survey.classes))
    showing = samples.showing(survey)
    blocks = []
    for info in survey.classes:
        chosen = samples.spread(showing.get(info.id, []), number)
        figures = [(f"{seen.split}: {seen.file}", album.of_class(seen.number, info)) for seen in chosen]
        shown = _pictures(figures) or "<p class=quiet>in no image</p>"
        blocks.append(f"<div class=class><h3>{_swatch(info)}{html.escape(info.name)}</h3>{shown}</div>")
    return "<h2 id=samples>Samples of each class</h2>\n" + "\n".join(_columns(blocks, number))


def _columns(blocks: Sequence[str], number: int) -> list[str]:
    """Where each class has one picture, the classes stand beside one another."""
    return [f"<div class=pictures>{''.join(blocks)}</div>"] if number == 1 else list(blocks)
