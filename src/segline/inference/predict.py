"""`segline predict`: an exported model over one image or a folder of them. Nothing here imports torch or MLflow.

    <out>/
      classes.json             id, name, colour of each class
      overlays/<name>.png      the image with what was found in it, in colour, over a legend
      …                        what the model's task writes, see `segline.tasks.<task>.results`

Names keep the sub-folders of the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from segline.errors import DataError, ModelError
from segline.files import write_json
from segline.progress import progress as told
from segline.tasks import catalog as tasks
from segline.tasks.results import write_png
from segline_runtime.errors import InputError
from segline_runtime.images import suffixes, to_array
from segline_runtime.predictor import Predictor


def load_predictor(file: Path) -> Predictor:
    """The predictor of a model.onnx. Raises ModelError when the file is none that Segline exported."""
    try:
        return Predictor(file)
    except InputError as error:
        raise ModelError(str(error)) from None


def predict_folder(predictor: Predictor, source: Path, out: Path, *, probabilities: bool = False, progress: bool = True) -> int:
    """Predict the image `source`, or all images of the folder `source`, and write what this module's first lines list; returns how many there were.

    Raises DataError when there is no image, and, after all others are written, when some cannot be read.
    """
    specification = predictor.specification
    names = output_names(find_images(source, out, suffixes(specification.image)))
    task = tasks.get(specification.task)
    write_json(out / "classes.json", [asdict(c) for c in specification.classes])
    results = task.result_files(out, specification, probabilities=probabilities)
    unreadable: list[str] = []
    with told("predict", len(names), shown=progress) as advance:
        for file, name in names.items():
            try:
                image = to_array(file, specification.image)
            except InputError as error:
                unreadable.append(str(error))
            else:
                prediction = predictor(image, probabilities)
                write_png(out / "overlays" / f"{name}.png", task.overlay(image, prediction, specification.classes))
                results.add(name, _file_name(file, source), image, prediction)
            advance(1)
    results.finish()
    done = len(names) - len(unreadable)
    if unreadable:
        rest = f"The other {done} are in {out}." if done else "Nothing was predicted."
        raise DataError(*unreadable, f"{len(unreadable)} of {len(names)} images could not be read. {rest}")
    return done


def find_images(source: Path, out: Path, endings: Sequence[str]) -> dict[Path, Path]:
    """Image files → their paths relative to `source`; those below `out`, which an earlier run wrote, are left out. Raises DataError when there are none."""
    if source.is_file():
        return {source: Path(source.name)}
    if not source.is_dir():
        raise DataError(f"{source} does not exist; give the path of an image or of a folder of images.")
    inside = out.resolve()
    files = [f for f in sorted(source.rglob("*")) if f.is_file() and f.suffix.lower() in endings and not f.resolve().is_relative_to(inside)]
    if not files:
        raise DataError(f"{source} holds no images; Segline looks for {', '.join(endings)}, also in sub-folders.")
    return {f: f.relative_to(source) for f in files}


def output_names(files: dict[Path, Path]) -> dict[Path, str]:
    """Image file → its output's name: without its suffix, unless two images differ in nothing else."""
    stems = Counter(relative.with_suffix("") for relative in files.values())
    names = {}
    for file, relative in files.items():
        stem = relative.with_suffix("")
        names[file] = (relative if stems[stem] > 1 else stem).as_posix()
    return names


def _file_name(file: Path, source: Path) -> str:
    """As results name an image: relative to the folder that was given."""
    return file.name if file == source else file.relative_to(source).as_posix()
