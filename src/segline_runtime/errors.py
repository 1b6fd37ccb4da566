"""What a user gave cannot be used. Anything else is a bug and ends in a traceback."""

_LONGEST = 200
"""Characters of an error's own words that a sentence repeats."""


class InputError(ValueError):
    """An image that is none, or a model file that Segline did not write or that is newer than this code. The message is a sentence."""


class NoImageError(InputError):
    """Bytes that are no image of a kind that is read."""


class TooLargeError(InputError):
    """An image of more pixels than are taken."""


def memory_is_short(error: BaseException) -> bool:
    """Whether that is the error's cause. ONNX Runtime has no kind of error for it, only words."""
    return isinstance(error, MemoryError) or "alloc" in str(error).lower()


def reason(error: BaseException | str) -> str:
    """What an error, or a text in its place, says, on one line and fit for the middle of a sentence; of an error without words its kind."""
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} …"
