"""`segline`: promote, serve and use what the line made. One file per verb, or for a few that belong together.

Each verb imports what it needs when it runs, so that help and prediction start quickly, and none imports torch.
"""

from __future__ import annotations

from segline import signals


def main() -> None:
    """Entry point: a user's mistake is a sentence and exit code 2."""
    signals.leave_at_once()
    from segline.cli.app import app
    from segline.errors import told_in_sentences

    with told_in_sentences():
        app()
