"""What a user gave cannot be used. Anything else is a bug and ends in a traceback."""


class InputError(ValueError):
    """An image that is none, or a model file that Segline did not write or that is newer than this code. The message is a sentence."""
