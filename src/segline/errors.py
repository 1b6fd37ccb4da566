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
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from segline import signals

USER_MISTAKE = 2

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "a file may not grow any larger (see `ulimit -f`)"}

_SURROUNDINGS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO)
"""What the system refuses for reasons that are no bug: permissions, file systems that are read alone, impossible names, broken disks."""


class SeglineError(Exception):
    """A user's mistake, told in sentences. `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        assert problems, "an error needs a sentence"
        super().__init__("\n".join(problems))
        self.problems: tuple[str, ...] = problems


class ParametersError(SeglineError):
    """params.yaml is malformed or says something that cannot be."""


class DataError(SeglineError):
    """The source data or the prepared data cannot be used. `kind` and `place` are those of a finding (see `segline.data.findings`)."""

    def __init__(self, *problems: str, kind: str = "truth", place: str = "") -> None:
        super().__init__(*problems)
        self.kind = kind
        self.place = place


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
    signals.leave_at_once()  # a second Ctrl-C
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def told_in_sentences() -> Iterator[None]:
    """Run a script's body: a user's mistake, a full disk, Ctrl-C or SIGTERM ends in sentences and an exit code, a bug in its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no arrow gets a question mark, not a traceback after the work is done
    with signals.raised_as_stopped():
        try:
            yield
        except BaseException as error:
            signum = signals.received()
            if signum is not None:
                _leave((signals.sentence(signum),), signals.exit_code(signum))
            if isinstance(error, SeglineError):
                _leave(error.problems, USER_MISTAKE)
            if isinstance(error, OSError) and error.errno in FULL:
                where = f" while writing {error.filename}" if error.filename else ""
                _leave((f"{FULL[error.errno]}{where}. Free some space and run the same command again; what was finished is kept.",), USER_MISTAKE)
            if isinstance(error, OSError) and error.errno in _SURROUNDINGS and error.filename:
                _leave((f"{error.filename} cannot be used ({error.strerror}). Check its name, its permissions and whose it is, then run again.",), USER_MISTAKE)
            raise
