"""What params.yaml can hold, as Markdown: read off the settings' classes, so that it cannot say anything else than they do.

`segline parameters` prints it, `docs/parameters.md` keeps it. What a key means is the comment behind its field, or the comment lines above it.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import textwrap
import tokenize
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segline import choices
from segline.data.formats import catalog as formats
from segline.data.public import catalog as public
from segline.data.sources import Folder, Shapes
from segline.errors import ParametersError
from segline.losses import catalog as losses
from segline.losses.settings import LossSum
from segline.metrics import catalog as metrics
from segline.models import catalog as architectures
from segline.models.settings import ModelSettings
from segline.params import Frame as Frame
from segline.recipes import catalog as recipes
from segline.recipes.base import ForBatch, OfEpochs
from segline.settings import OrAuto
from segline.tasks import catalog as tasks
from segline.training.settings import COPY_PASTE, CopyPaste, Transform

NOT_SET = "—"

_HEAD = f"""\
# Every key of params.yaml

`segline parameters` prints this page, and `segline parameters unet` or `segline parameters train.lr` a part of it. It is made from the classes that read
params.yaml: correct the comment behind a field there, then `segline parameters --out docs/parameters.md`.

{NOT_SET} as the default: not set, and `null` says so, too. A number is an integer or a decimal (`0.001`, `1e-3`); a size is `[height, width]`."""

_TEXTS = {
    "data": "What the line is fed with. `source` is `shapes` (generated images), the name of a public data set, or the folder of your own; a folder has a "
    "`format`, which may add keys.",
    "data.public": "`segline datasets` lists them, `segline datasets <name>` tells licence, size and what to do. The format is that of the data set and is not "
    "given; its keys, and those of every folder, can be. A folder of such a name is written `./<name>`.",
    "data.folder": "What every format has.",
    "models": "One entry per model; its name is up to you: a lower-case letter, then lower-case letters, digits or `_`. "
    "`arch` decides which further keys there are.",
    "models.loss": "Of semantic architectures: a weighted sum of losses. A number alone is the weight; a section sets more: "
    "`{cross_entropy: {weight: 1.0, class_weights: median_frequency}, dice: 0.5}`.",
    "models.recipe": "Defaults by which the field trains a family of architectures: `{arch: unet, recipe: unet, train: {lr: 0.0005}}` takes all of `unet` but "
    "its rate. Keys of an entry come before those of its recipe, one by one; lists are replaced, and the losses that an entry names are all of its losses. "
    "Who gives `input.size` decides for `fit` and `crop`, too. How long is trained is not in a recipe; what depends on it is a share. "
    "`data/plan/<model>/decisions.json` says which keys a model has from its recipe. `segline recipes` prints the same.",
    "evaluate.metrics": "The words that `evaluate.metrics` can name; of a list, a model is scored by those of its task. "
    "metrics.json holds the figure with an interval also as `<figure>_low` and `<figure>_high`, and as `ceiling_<figure>` what a network would reach that "
    "gave back its targets exactly: the truth, sent through the model's resizing, its targets and its pasting. What is not in `auto` is counted "
    "when it is asked for; `ece` and `thresholds` then predict with class probabilities, one image at a time.",
}


@dataclass(frozen=True)
class Key:
    """One key, each column as Markdown."""

    name: str  # dotted, within its section
    values: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Part:
    """One heading of the page, and the table below it."""

    address: str  # its level is how deep it stands: `data`, `data.shapes`
    title: str
    text: str
    columns: tuple[str, ...] = ("key", "value", "default", "meaning")
    rows: tuple[tuple[str, ...], ...] = ()

    def markdown(self) -> str:
        blocks = [f"{'#' * (2 + self.address.count('.'))} {self.title}", self.text, _table(self.columns, self.rows)]
        return "\n\n".join(block for block in blocks if block)


def page() -> str:
    """All of it."""
    return "\n\n".join([_HEAD, *(part.markdown() for part in parts())]) + "\n"


def excerpt(asked: str) -> str:
    """The parts of that name (`unet`, `data`, `models.unet.train`), else the keys (`lr`, `train.lr`). Raises ParametersError when there are none."""
    every = list(parts())
    found = _of_architecture(asked) or _parts_named(asked, every) or _keys_named(asked, every)
    if not found:
        known = {part.address for part in every} | {f"{part.address}.{_bare(row[0])}" for part in every for row in part.rows}
        words = known | {name.rpartition(".")[2] for name in known}
        raise ParametersError(f"params.yaml has no part and no key '{asked}'. {choices.hint(asked, words)} `segline parameters` shows all.")
    return "\n\n".join(part.markdown() for part in found) + "\n"


def parts() -> Iterator[Part]:
    """The page's parts, in the order of params.yaml."""
    for name, field in Frame.model_fields.items():
        section = _section_in(field.annotation)
        if name == "data":
            yield from _data()
        elif name == "models":
            yield from _models()
        elif section is None:
            yield Part(name, f"`{name}`", "", rows=_rows([_key(Frame, name, field, field.default)]))
        else:
            per_model = get_origin(field.annotation) is dict
            yield Part(name, f"`{name}.<model>`" if per_model else f"`{name}`", _first_line(section), rows=_rows(keys(section)))
        if name == "evaluate":
            yield _metrics()


def keys(section: type[BaseModel], chosen: BaseModel | None = None, prefix: str = "") -> Iterator[Key]:
    """The keys of a section and of the sections in it. `chosen`: holds the defaults where they are not the section's own."""
    for name, field in section.model_fields.items():
        default = getattr(chosen, name) if chosen is not None else field.get_default(call_default_factory=True, validated_data={})
        inner = _section_in(field.annotation)
        if inner is None or issubclass(inner, LossSum | Transform):
            yield _key(section, name, field, default, prefix)
            continue
        if default is None:
            yield replace(_key(section, name, field, default, prefix), values="section")
        elif _or_auto(field.metadata):
            yield replace(_key(section, name, field, None, prefix), values="section or `auto`")
        yield from keys(inner, default if isinstance(default, BaseModel) else None, f"{prefix}{name}.")


def comment(section: type[BaseModel], name: str) -> str:
    """What the source says about a field, in the class that declares it or in the one that this class changes."""
    for owner in section.__mro__:
        if issubclass(owner, BaseModel) and owner is not BaseModel and name in inspect.get_annotations(owner):
            found = _comments(owner).get(name)
            if found:
                return found
    return ""


def _data() -> Iterator[Part]:
    yield Part("data", "`data`", _TEXTS["data"])
    yield Part("data.shapes", "`data`, with `source: shapes`", _first_line(Shapes), rows=_rows(keys(Shapes)))
    rows = tuple((f"`{name}`", f"`{entry.format}`", entry.title, entry.licence) for name, entry in public.PUBLIC.items())
    yield Part("data.public", "`data`, with `source: <public data set>`", _TEXTS["data.public"], ("name", "format", "what", "licence"), rows)
    words = ", ".join(f"`{word}`" for word in formats.FORMATS)
    common = [replace(key, values=words, default=_default(formats.DEFAULT)) if key.name == "format" else key for key in keys(Folder)]
    yield Part("data.folder", "`data`, with `source: <folder>`", _TEXTS["data.folder"], rows=_rows(common))
    for word in formats.FORMATS:
        settings = formats.get(word).Settings
        yield Part(f"data.{word}", f"`data`, with `format: {word}`", _first_line(settings), rows=_rows(_beyond(common, keys(settings))))


def _models() -> Iterator[Part]:
    words = ", ".join(f"`{word}`" for word in architectures.words())
    common = [replace(key, values=words) if key.name == "arch" else key for key in keys(ModelSettings)]
    plain = [key for key in common if "." not in key.name]
    yield Part("models", "`models.<name>`", _TEXTS["models"], rows=_rows(plain))
    for inner in dict.fromkeys(key.name.partition(".")[0] for key in common if "." in key.name):
        section = _section_in(ModelSettings.model_fields[inner].annotation)
        assert section is not None
        within = [replace(key, name=key.name.partition(".")[2]) for key in common if key.name.startswith(f"{inner}.")]
        yield Part(f"models.{inner}", f"`models.<name>.{inner}`", _first_line(section), rows=_rows(within))
    yield Part(f"models.{COPY_PASTE}", f"`{COPY_PASTE}` in `models.<name>.augment`", _first_line(CopyPaste), rows=_rows(keys(CopyPaste)))
    yield _recipes()
    yield Part("models.loss", "`models.<name>.loss`", _TEXTS["models.loss"])
    for word in losses.LOSSES:
        settings = losses.settings(word)
        yield Part(f"models.loss.{word}", f"`loss.{word}`", _first_line(settings), rows=_rows(keys(settings)))
    for word in architectures.words():
        kind = architectures.settings(word)
        own = list(keys(kind))
        beyond, lacking = _beyond(common, own), _lacking(common, own)
        text = f"{_first_line(kind)} Task: {kind.task_of_arch}. "
        text += f"It is made of other entries, and has no {', '.join(lacking)}. Its keys:" if lacking else "Its own keys, and those that differ:"
        yield Part(f"models.{word}", f"`models.<name>`, with `arch: {word}`", text, rows=_rows(beyond))


def recipe(word: str) -> Part:
    """What a recipe sets, for whom, and whose it is. Raises ParametersError for an unknown word."""
    found = recipes.get(word)
    text = f"{found.about} For {_words(found.architectures)}. {found.source}."
    rows = tuple((f"`{key}`", _set_to(value)) for key, value in _within(found.values))
    return Part(f"recipes.{word}", f"`recipe: {word}`", text, ("key", "value"), rows)


def _recipes() -> Part:
    rows = []
    for word in recipes.RECIPES:
        found = recipes.get(word)
        sets = ", ".join(f"`{key}` {_set_to(value)}" for key, value in _within(found.values))
        rows.append((f"`{word}`", _words(found.architectures), sets, found.source, found.about))
    return Part("models.recipe", "`models.<name>.recipe`", _TEXTS["models.recipe"], ("word", "for", "sets", "source", "meaning"), tuple(rows))


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _within(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _within(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set_to(value: Any) -> str:
    if isinstance(value, OfEpochs):
        return f"{value.share:g} of `train.epochs`"
    if isinstance(value, ForBatch):
        return f"`{value.lr:g}` for {value.images} images per step (`batch_size` times `accumulate`), for others in proportion"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _metrics() -> Part:
    rows = []
    for word, module in metrics.METRICS.items():
        metric = metrics.get(word)
        about = inspect.getdoc(choices.module(metrics.METRICS, "metric", word)) or module
        scored = [tasks.get(name) for name in tasks.TASKS if tasks.get(name).counts == metric.counts]
        auto = "yes" if any(word in task.metrics for task in scored) else "no"
        rows.append((f"`{word}`", ", ".join(task.name for task in scored), auto, f"`{metric.headline}`" if metric.headline else NOT_SET, about.splitlines()[0]))
    return Part("evaluate.metrics", "Metrics", _TEXTS["evaluate.metrics"], ("word", "task", "in `auto`", "with an interval", "meaning"), tuple(rows))


def _beyond(common: Iterable[Key], own: Iterable[Key]) -> list[Key]:
    """The keys that are not, or not so, in `common`, without the word by which the section was chosen."""
    known = set(common)
    return [key for key in own if key not in known and key.name not in ("arch", "format")]


def _lacking(common: Iterable[Key], own: Iterable[Key]) -> list[str]:
    """The keys of the first level that others have, as Markdown."""
    there = {key.name.partition(".")[0] for key in own}
    return [f"`{name}`" for name in dict.fromkeys(key.name.partition(".")[0] for key in common) if name not in there]


def _of_architecture(asked: str) -> list[Part]:
    """`models.<architecture>.<rest>`: all keys there, those that every model has among them."""
    section, _, rest = asked.partition(".")
    word, _, rest = rest.partition(".")
    if section != "models" or word not in architectures.words() or not rest:
        return []
    found = [key for key in keys(architectures.settings(word)) if key.name == rest or key.name.startswith(f"{rest}.")]
    return [Part(f"models.{word}", f"`models.<name>.{rest}`, with `arch: {word}`", "", rows=_rows(found))] if found else []


def _parts_named(asked: str, every: Sequence[Part]) -> list[Part]:
    named = [part.address for part in every if part.address == asked or part.address.endswith(f".{asked}")]
    return [part for part in every if any(part.address == name or part.address.startswith(f"{name}.") for name in named)]


def _keys_named(asked: str, every: Sequence[Part]) -> list[Part]:
    words = asked.split(".")
    wanted = "." + ".".join(words[2:] if words[0] == "models" and len(words) > 2 else words)
    found = []
    for part in every:
        rows = tuple(row for row in part.rows if f".{part.address}.{_bare(row[0])}".endswith(wanted))
        if rows:
            found.append(replace(part, text="", rows=rows))
    return found


def _bare(cell: str) -> str:
    return cell.strip("`")


def _key(section: type[BaseModel], name: str, field: FieldInfo, default: Any, prefix: str = "") -> Key:
    shown = "required" if field.is_required() else _default(default)
    return Key(prefix + name, _values(field.annotation, field.metadata), shown, comment(section, name) or field.description or "")


def _section_in(kind: Any) -> type[BaseModel] | None:
    """The section that a type is or holds: of `Tile | None`, `list[Transform]` and `dict[str, Gates]` the named one."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for inner in get_args(kind) if (found := _section_in(inner)) is not None), None)


@cache
def _comments(section: type[BaseModel]) -> dict[str, str]:
    """The comment behind or above each field of a class; what comes behind counts first."""
    source = textwrap.dedent(inspect.getsource(section))
    lines = source.splitlines()
    behind: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            where = alone if lines[token.start[0] - 1].lstrip().startswith("#") else behind
            where[token.start[0]] = token.string.partition("# noqa")[0].lstrip("# ").strip()
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for node in definition.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        above: list[str] = []
        while (number := node.lineno - 1 - len(above)) in alone:
            above.insert(0, alone[number])
        last = node.end_lineno or node.lineno
        found[node.target.id] = behind.get(last) or behind.get(node.lineno) or " ".join(above)
    return found


def _first_line(section: type[BaseModel]) -> str:
    return (inspect.getdoc(section) or "").partition("\n")[0]


_NOUNS: dict[Any, tuple[str, str]] = {
    int: ("integer", "integers"),
    float: ("number", "numbers"),
    str: ("text", "texts"),
    Transform: ("transform", "transforms"),
}


def _values(kind: Any, limits: Sequence[Any] = (), *, many: bool = False) -> str:
    """What a value may be, as words. `limits`: pydantic's metadata. `many`: in the plural."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        more = [limit for given in inner[1:] for limit in (given.metadata if isinstance(given, FieldInfo) else [given])]
        return _values(inner[0], [*limits, *more], many=many)
    if origin in (Union, types.UnionType):
        return " or ".join(_values(option, limits, many=many) for option in inner if option is not type(None))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin is list:
        return f"list of {_values(inner[0], many=True)}"
    if origin is tuple:
        return f"{len(inner)} {_values(inner[0], many=True)}"
    if isinstance(kind, type) and issubclass(kind, LossSum):
        return "losses, by their words"
    if kind is bool:
        return "`true`, `false`"
    if kind not in _NOUNS:
        return "section"
    return " ".join(word for word in (_NOUNS[kind][many], _range(limits)) if word) + (" or `auto`" if _or_auto(limits) else "")


def _or_auto(limits: Sequence[Any]) -> bool:
    return any(isinstance(limit, OrAuto) for limit in limits)


def _range(limits: Sequence[Any]) -> str:
    found = {word: getattr(limit, word) for limit in limits for word in ("ge", "gt", "le", "lt") if hasattr(limit, word)}
    least, above, most, below = (found.get(word) for word in ("ge", "gt", "le", "lt"))
    if least is not None and most is not None:
        return f"{least} … {most}"
    bounds = (("≥", least), (">", above), ("≤", most), ("<", below))
    return " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)


def _default(value: Any) -> str:
    if value is None:
        return NOT_SET
    if isinstance(value, LossSum):
        return "`{" + ", ".join(f"{word}: {term.weight}" for word, term in value.terms().items()) + "}`"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _rows(found: Iterable[Key]) -> tuple[tuple[str, ...], ...]:
    return tuple((f"`{key.name}`", key.values, key.default, key.meaning) for key in found)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
