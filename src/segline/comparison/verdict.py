"""What a comparison shows, in words."""

from __future__ import annotations

import math

from segline.metrics.paired import Comparison

_MOST_IMAGES = 1_000_000  # a number of images that nobody annotates


def shown(comparison: Comparison | None) -> int:
    """1: the second model's figure is higher, and the images show it; -1: the first one's; 0: they do not."""
    if comparison is None:
        return 0
    return int(comparison.low > 0) - int(comparison.high < 0)


def sentence(comparison: Comparison | None, *, first: str, second: str, level: float, word: str = "better") -> str:
    """The verdict on second minus first. word: `better`, or `higher` for a figure of which more need not be better."""
    if comparison is None:
        return "It cannot be told: the figure is not defined on these images, or there are fewer than two of them."
    sure = f"{100 * level:g} %"
    which = shown(comparison)
    if which:
        name, ends = (second, (comparison.low, comparison.high)) if which > 0 else (first, (-comparison.high, -comparison.low))
        places = _places(comparison)
        amount, low, high = (f"{value:.{places}f}" for value in (abs(comparison.difference), *ends))
        return f"'{name}' is {word} by {amount} ({low} to {high}), shown at {sure}."
    if comparison.low == comparison.high == 0:
        return f"There is no difference: '{first}' and '{second}' count the same on every image."
    return f"It cannot be told which is {word}: '{second}' minus '{first}' is {interval(comparison)} at {sure}. {needed(comparison)}"


def brief(comparison: Comparison | None, *, first: str, second: str) -> str:
    """The same in a cell of a table: whose figure is higher, or what it would take to know."""
    if comparison is None:
        return "not defined"
    which = shown(comparison)
    if which:
        return second if which > 0 else first
    if comparison.low == comparison.high == 0:
        return "equal"
    images = _images(comparison)
    return "cannot be told" if images is None else f"cannot be told; about {images} images would"


def interval(comparison: Comparison) -> str:
    """`+0.021 (+0.008 to +0.034)`."""
    places = _places(comparison)
    return f"{comparison.difference:+.{places}f} ({comparison.low:+.{places}f} to {comparison.high:+.{places}f})"


def needed(comparison: Comparison) -> str:
    """How many images would decide, as a sentence."""
    images = _images(comparison)
    if images is None:
        return "More images would not decide as long as the difference is so small."
    return f"About {images} images would be needed; there are {comparison.images:,}."


def _images(comparison: Comparison) -> str | None:
    """Rounded to two digits: it is a guess that the difference stays."""
    number = comparison.needed_images
    if number is None:
        return None
    if number >= _MOST_IMAGES:
        return f"more than {_MOST_IMAGES:,}"
    step = 10 ** max(0, int(math.log10(number)) - 1)
    return f"{max(math.ceil(number / step) * step, comparison.images + 1):,}"


def _places(comparison: Comparison) -> int:
    """Decimals: three, and more where the whole interval lies within a hundredth."""
    return 3 if max(abs(comparison.low), abs(comparison.high)) >= 0.01 else 5
