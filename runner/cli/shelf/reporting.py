"""The command of `veles-snapshots` that makes a page: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.shelf.printing import say

Folder = Annotated[Path, typer.Argument(help="The folder of a run or of a sweep, or a file in it.")]


def report(folder: Folder = Path()) -> None:
    """Writes report.html into the folder of a run, or of a sweep: all that is known of it in one page.

    \b
    veles-snapshots report outputs/mnist/2026-11-24/11-24-19-dfc837
    """
    from runner.report import write_report

    say(str(write_report(folder.parent if folder.is_file() else folder)))
