"""The options that commands of `veles-snapshots` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from runner import passwords
from runner.checks import choices
from runner.errors import ConfigError, SnapshotError
from runner.flat import flattened
from runner.snapshots.format.signing_keys import Key as SigningKey
from runner.snapshots.format.signing_keys import read_key
from runner.snapshots.shelf.shelf import Shelf
from runner.snapshots.shelf.wanted import Wanted, condition, metric, moment
from runner.snapshots.stores.location import DEFAULT_TABLE, SCHEME
from runner.snapshots.stores.spool import DEFAULT_SPOOL

Place = Annotated[
    str, typer.Argument(help="A folder (searched with all below it), a file, or a URL such as 'odbc://CONNECTION&TABLE'.")
]
In = Annotated[str, typer.Option("--in", help="Where to look for it: as PLACE of `ls`.", metavar="PLACE")]
Snapshot = Annotated[
    str,
    typer.Argument(help="A file, a location odbc://..., the beginning of an id as `ls` shows it, latest, best, or tag:NAME."),
]
Odbc = Annotated[
    str | None, typer.Option("--odbc", help="A database instead of a place: a connection string, or a data source's name.")
]
Table = Annotated[str, typer.Option("--table", help="The table in that database.")]
Spool = Annotated[str, typer.Option("--spool", help="The folder in which snapshots wait for a database.", metavar="FOLDER")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Ask for a signature by this key: the path of a file, or env:NAME.", metavar="KEY"),
]
Workflow = Annotated[str | None, typer.Option("--workflow", "-w", help="Only snapshots of workflows with this name.")]
Run = Annotated[str | None, typer.Option("--run", "-r", help="Only those of the run, or the process, whose id begins so.")]
Metric = Annotated[
    list[str] | None,
    typer.Option("--metric", "-m", help="Only those whose metric is such: 'validation<2', 'error<=0.5'. May be repeated."),
]
Newer = Annotated[str | None, typer.Option("--newer", help="Only those since then: an age (90m, 12h, 7d) or a date.")]
Tag = Annotated[str | None, typer.Option("--tag", help="Only those with this tag.", metavar="NAME")]
Older = Annotated[str | None, typer.Option("--older", help="Only those from before then: an age or a date.")]


def shelf(place: str, odbc: str | None = None, table: str = DEFAULT_TABLE, spool: str = DEFAULT_SPOOL) -> Shelf:
    """Returns the place that a command is about.

    Raises:
        ConfigError: two places are named, or none, or what cannot be the name of a table.
        SnapshotNotFoundError: there is no such place.
    """
    named("the place", place)
    if odbc is None:
        if table != DEFAULT_TABLE:
            raise ConfigError(f"--table={table} is a table in a database: name it with --odbc")
        return Shelf.at(passwords.conceal(place) if "://" in place else place, spool)
    if place != ".":
        raise ConfigError(f"{place!r} and --odbc are two places: name one")
    from runner.snapshots.odbc.dialects import check_table

    check_table(table, "--table")
    return Shelf.at(f"{SCHEME}{passwords.conceal(odbc)}&{table}", spool)


def named(what: str, place: str) -> str:
    """Returns a place; raises a ConfigError if it is empty: with an unset variable, `prune "$FOLDER"` means no folder."""
    if not place.strip():
        raise ConfigError(f"{what} is empty: name a folder or a URL; '.' is the current folder (a variable may be unset)")
    return place


@contextmanager
def about(*locations: str) -> Iterator[None]:
    """Has errors of a snapshot that is read in the block say which one it is, or which ones it may be."""
    try:
        yield
    except SnapshotError as error:
        if any(location in str(error) for location in locations):
            raise
        raise type(error)(f"{' or '.join(map(repr, locations))}: {error}") from error


def unknown_metrics(shelf: Shelf, typed: Sequence[str] | None) -> str | None:
    """Says which metrics of filters no snapshot has; None if each is somewhere."""
    headers = [entry.header for entry in shelf.entries()] if typed else []
    names = {condition(text)[0] for text in typed or ()}
    missing = sorted(name for name in names if all(metric(header, name) is None for header in headers))
    found = sorted({"error", *(name for header in headers for name in flattened(header.metrics))})
    return f"No snapshot has a metric {missing[0]!r}; {choices(missing[0], found)}" if missing and headers else None


def wanted(
    workflow: str | None,
    run: str | None,
    metrics: Sequence[str] | None,
    newer: str | None,
    older: str | None,
    tag: str | None = None,
) -> Wanted:
    """Returns the filter that was typed.

    Raises:
        ConfigError: a part of it cannot be read, or is empty.
    """
    for name, value in (("workflow", workflow), ("run", run), ("tag", tag), ("newer", newer), ("older", older)):
        if value is not None and not value.strip():
            raise ConfigError(f"--{name} is empty: type a value, or leave it out (a variable may be unset)")
    return Wanted(
        workflow=workflow,
        run=(run or "").lower(),
        conditions=[condition(text) for text in metrics or ()],
        since=moment(newer) if newer else "",
        until=moment(older) if older else "~",
        tag=tag,
    )


def secret(key: str | None) -> SigningKey | None:
    """Returns the key that checks signatures; None without one.

    Raises:
        ConfigError: it is none, or others can read it.
    """
    return None if key is None else read_key(key)
