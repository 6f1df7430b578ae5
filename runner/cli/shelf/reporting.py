"""The command of `veles-snapshots` that makes a page: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.shelf import options
from runner.cli.shelf.printing import dump, say
from runner.errors import SnapshotNotFoundError
from runner.snapshots.stores.location import DEFAULT_TABLE


def report(
    place: Annotated[
        str, typer.Argument(help="The folder of a run or of a sweep, a file in it, or a URL such as 'odbc://CONNECTION&TABLE'.")
    ] = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    workflow: options.Workflow = None,
    run: options.Run = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write it into this folder. [that of the run, or the current one]", metavar="FOLDER"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Writes a page about a run or a sweep.

    It is report.html, and has all that is known of it; its path is printed. Of a database or a URL, it is about the run with
    the newest snapshot; --workflow and --run choose another one, also below a folder. What needs the state is read from the
    newest snapshot, which is restored as restore() does by default.

    \b
    veles-snapshots report outputs/mnist/2026-11-24/11-24-19-dfc837
    veles-snapshots report --odbc DSN=runs --workflow mnist --to reports
    """
    from runner.report.write import write_report, write_stored

    if odbc is None and "://" not in place and workflow is None and not run:
        path = write_report(Path(place).parent if Path(place).is_file() else place, to=to)
    else:
        shelf = options.shelf(place, odbc, table_name)
        newest = next(shelf.entries(options.wanted(workflow, run, None, None, None)), None)
        if newest is None:
            raise SnapshotNotFoundError(f"there is no such snapshot in {shelf.store}")
        path = write_stored(to or Path(), shelf.store, newest.header)
    if as_json:
        dump({"report": str(path)})
    else:
        say(path)
