"""What a user gave cannot be used. Anything else is a bug and ends in a traceback."""


class InputError(ValueError):
    """An image that is none, or a model file that Segline did not write or that is newer than this code. The message is a sentence."""


class NoImageError(InputError):
    """Bytes that are no image of a kind that is read."""


class TooLargeError(InputError):
    """An image of more pixels than are taken."""


def memory_is_short(error: BaseException) -> bool:
    """Whether that is the error's cause. ONNX Runtime has no kind of error for it, only words."""
    return isinstance(error, MemoryError) or "alloc" in str(error).lower()
