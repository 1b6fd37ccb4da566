"""What can go wrong by a user's hand. Anything else is a bug and ends in a traceback.

    SeglineError
    ├── ParametersError     params.yaml: keys, types, ranges, names, YAML itself
    ├── DataError           source folder, annotations, images, prepared data
    ├── ModelError          architectures, encoders, weights, model folders
    ├── TrainingError       a training that cannot go on
    │   └── LockedError     another process trains the same thing
    ├── ExportError         ONNX export, parity
    ├── TrackingError       the MLflow server or store
    └── RegistryError       registered models, aliases, promotion

Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

USER_MISTAKE = 2
INTERRUPTED = 130


class SeglineError(Exception):
    """A user's mistake, told in sentences. `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        assert problems, "an error needs a sentence"
        super().__init__("\n".join(problems))
        self.problems: tuple[str, ...] = problems


class ParametersError(SeglineError):
    """params.yaml is malformed or says something that cannot be."""


class DataError(SeglineError):
    """The source data or the prepared data cannot be used."""


class ModelError(SeglineError):
    """An architecture, encoder, weight file or model folder cannot be used."""


class TrainingError(SeglineError):
    """The training cannot start or go on."""


class LockedError(TrainingError):
    """Another live process holds the same training."""


class ExportError(SeglineError):
    """The exported model is not the trained model, or cannot be made."""


class TrackingError(SeglineError):
    """The tracking store refuses or cannot be reached."""


class RegistryError(SeglineError):
    """A registered model, version or alias is not there or cannot be changed."""


def _leave(sentences: tuple[str, ...], code: int) -> NoReturn:
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def told_in_sentences() -> Iterator[None]:
    """Run a script's body: a user's mistake, a full disk or Ctrl-C ends in sentences and an exit code, a bug in its traceback."""
    try:
        yield
    except SeglineError as error:
        _leave(error.problems, USER_MISTAKE)
    except KeyboardInterrupt:
        _leave(("interrupted; nothing half-written was left behind. Run the same command again to go on.",), INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        _leave((f"the disk is full{where}. Free some space and run the same command again; what was finished is kept.",), USER_MISTAKE)
