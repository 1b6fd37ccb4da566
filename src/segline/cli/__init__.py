"""`segline`: promote, serve and use what the line made. One file per verb, or for a few that belong together.

Each verb imports what it needs when it runs, so that help and prediction start quickly, and none but `profile` imports torch.
"""

from __future__ import annotations

import atexit
import gc
import sys

from segline import process, signals


def main() -> None:
    """Entry point: a user's mistake is a sentence and exit code 2."""
    signals.leave_at_once()
    atexit.register(_leave_garbage)
    gc.disable()  # while hundreds of modules are imported, that stay
    from segline.cli.app import app
    from segline.errors import told_in_sentences

    gc.enable()
    process.is_ours()

    with told_in_sentences():
        app()


def _leave_garbage() -> None:
    """Python would look for garbage among all that was imported, once more before it ends. With torch it has to, or triton complains of what is left."""
    if "torch" not in sys.modules:
        gc.freeze()
