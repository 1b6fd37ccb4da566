"""Hostile params.yaml: damaged bytes of its text, and its tree with odd values, read as the first stage reads it. Usage: python benchmarks/hostile/params.py"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from campaign import ROOT, Case, campaign, in_one_process, write
from mutations import damaged_bytes, damaged_tree
from ruamel.yaml import YAML

from segline import conveyor
from segline.errors import ParametersError
from segline.layout import Checkout
from segline.plan.code import Code
from segline.plan.data import data_plans

FILES = ("params.yaml", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").rglob("*.yaml")))

FIXED = {
    "alias bomb": "a: &a [1]\n" + "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '*a'] * 10)}]\n" for i in range(12)),
    "merge bomb": "a: &a {x: 1}\n" + "".join(f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}], k{i}: 1}}\n" for i in range(12)),
    "recursion": "models: &m {unet: *m}\n",
    "recursive list": "models: &m [*m]\n",
    "deep brackets": "a: " + "[" * 100_000,
    "deep braces": "a: " + "{a: " * 20_000,
    "deep indentation": "".join(" " * i + f"k{i}:\n" for i in range(700)),
    "date key": "2020-01-01: 1\n",
    "impossible date": "a: 2020-13-45\n",
    "digits": "seed: " + "9" * 5000,
    "hexadecimal digits": "seed: 0x" + "f" * 9000,
    "base 60": "seed: " + ":".join(["59"] * 3000),
    "exponent": "seed: 1e999999999\n",
    "NUL": "a: \x00\n",
    "escaped NUL": 'data: {source: "a\\0b"}\nmodels: {unet: {arch: unet}}\n',
    "surrogate": 'data: {source: "\\ud800"}\nmodels: {unet: {arch: unet}}\n',
    "no such user": "data: {source: ~nosuchuser/x, format: coco}\nmodels: {unet: {arch: unet}}\n",
    "long name": f"data: {{source: {'x' * 5000}, format: coco}}\nmodels: {{unet: {{arch: unet}}}}\n",
    "python object": "a: !!python/object/apply:os.system [true]\n",
    "many documents": "---\na: 1\n" * 1000,
    "many keys": "".join(f"k{i}: {i}\n" for i in range(20_000)),
    "many models": "models:\n" + "".join(f"  m{i}: {{arch: unet}}\n" for i in range(2000)),
    "large": "# " + "x" * 3_000_000,
    "UTF-16": "",
}
"""What random damage does not find."""


def cases(number: int, seed: int) -> Iterator[Case]:
    """`number` random ones: half of the text, half of the tree."""
    texts = {name: (ROOT / name).read_bytes() for name in FILES}
    trees = {name: YAML(typ="safe", pure=True).load(content) for name, content in texts.items()}
    for i in range(number):
        random = np.random.default_rng([seed, i])
        name = FILES[int(random.integers(0, len(FILES)))]
        if i % 2:
            tree, place = damaged_tree(trees[name], random)
            yield f"tree {seed}/{i}: {name}, {place}", _of_tree(tree)
        else:
            yield f"bytes {seed}/{i}: {name}", partial(read, damaged_bytes(texts[name], random))


def fixed() -> Iterator[Case]:
    for name, text in FIXED.items():
        content = "models: {unet: {arch: unet}}\n".encode("utf-16") if name == "UTF-16" else text.encode()
        yield name, partial(read, content)


def _of_tree(tree: Any) -> Callable[[], None]:
    def case() -> None:
        stream = io.StringIO()
        try:
            YAML(typ="safe", pure=True).dump(tree, stream)
            content = stream.getvalue().encode()
        except Exception:  # the writer refuses what the reader is to be tried with
            return
        read(content)

    return case


def read(content: bytes) -> None:
    """As the stage `params` reads it, and what it makes of it; a sentence must be short enough to be read."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder))
        checkout.params.write_bytes(content)
        try:
            settings = conveyor.check(checkout)
        except ParametersError as error:
            if any(len(problem) > 3000 or "\x00" in problem for problem in error.problems):
                raise RuntimeError("a sentence that nobody can read") from error
            raise
        data_plans(settings, Code(ROOT / "src"))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=2400)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    result = campaign(fixed())
    found = in_one_process(cases(given.cases, given.seed))
    result.outcomes += found.outcomes
    result.findings += found.findings
    result.largest_mib, result.longest_s = max(result.largest_mib, found.largest_mib), max(result.longest_s, found.longest_s)
    write("params", result, seed=given.seed)


if __name__ == "__main__":
    main()
