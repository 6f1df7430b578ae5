"""The command `veles-run`, which is also `python -m runner`: signals and output are taken care of before all else."""

from __future__ import annotations

import gc
import os
import signal
import sys

from runner import signals
from runner.cli import leaving, output

LINGER = 1.0
"""Seconds that a process that is to stop waits for the reader of its output."""


class Starting:
    """Before a run has done anything, and between two of a sweep, a signal ends the process at once."""

    def on_signal(self, number: signal.Signals) -> None:
        """Leaves it to the thread: the main one may be in a long import."""

    def announce(self, number: signal.Signals) -> None:
        """Says so, and ends the process."""
        try:
            print(f"veles-run: {number.name}: stopped before the run began; it has taken no snapshot yet", file=sys.stderr)
            output.finish(lambda: LINGER)
        finally:
            os._exit(signals.exit_code(number))


def main() -> None:
    """Runs `veles-run` with the arguments of the process, and exits."""
    leaving.prepare()
    output.guard()
    gc.disable()  # what is imported stays; to look for garbage among it takes a seventh of the start
    with signals.caught(Starting()):
        try:
            with leaving.of_every_run():
                from runner.cli import run  # noqa: F401
                from runner.cli.starting.starters import main

            main()
            leaving.end_with(0)
        except SystemExit as end:
            leaving.end_with(end.code)
            raise
        finally:
            signals.settle()
            output.finish(lambda: LINGER if signals.in_a_hurry() else None)
            signals.ignore()


if __name__ == "__main__":
    main()
