"""Commands of `veles-snapshots` that check: verify, deliver, ddl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from runner import passwords
from runner.checks import choices
from runner.cli.shelf import options
from runner.cli.shelf.printing import Column, dump, say, size, table
from runner.errors import ConfigError, SnapshotError
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.shelf.contents import read_contents
from runner.snapshots.shelf.shelf import Shelf
from runner.snapshots.stores.location import DEFAULT_TABLE
from runner.snapshots.stores.spool import DEFAULT_SPOOL, SpoolStore
from runner.snapshots.stores.store import Store


def verify(
    place: Annotated[list[str] | None, typer.Argument(help="Places as for `ls`, or single snapshots as for `show`.")] = None,
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    spool: options.Spool = DEFAULT_SPOOL,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """Reads whole snapshots and checks them.

    Checked are codec, digest, length, header, and the structure of the pickle. With --key, each must be signed with it. For a
    database, what waits in its spool is checked, too. The exit code is 1 if one is not as it should be.

    \b
    veles-snapshots verify
    veles-snapshots verify backup/ --key $HOME/veles.pub
    veles-snapshots verify --odbc 'DRIVER={SQLite3};Database=runs.db'
    """
    secret = options.secret(key)
    rows = [row for one in place or ["."] for row in _verified(one, odbc, table_name, spool, secret)]
    if as_json:
        dump(rows)
    else:
        table(
            rows,
            (
                Column("result", lambda row: "good" if row["error"] is None else "BAD"),
                Column("state", lambda row: size(row["state"]), right=True),
                Column("location", lambda row: row["location"]),
                Column("reason", lambda row: row["error"] or "", importance=8),
            ),
        )
        bad = sum(row["error"] is not None for row in rows)
        count = f"{len(rows)} snapshot{'' if len(rows) == 1 else 's'}"
        say(f"{count}, {bad} of them bad" if bad else f"{count}, all good" if rows else "no snapshots")
    if any(row["error"] is not None for row in rows):
        raise typer.Exit(1)


def _verified(place: str, odbc: str | None, table_name: str, spool: str, key: Key | None) -> Iterator[dict[str, Any]]:
    try:
        shelf = options.shelf(place, odbc, table_name, spool)
    except SnapshotError:
        entry, store = options.shelf(".", odbc, table_name, spool).find(place)
        yield _checked(store, entry.location, key)
        return
    yield from _all_checked(shelf, key)


def _all_checked(shelf: Shelf, key: Key | None) -> Iterator[dict[str, Any]]:
    damaged: list[tuple[str, SnapshotError]] = []
    for entry in shelf.entries(unreadable=lambda where, error: damaged.append((where, error))):
        yield _checked(shelf.store, entry.location, key)
    yield from ({"location": where, "uuid": None, "state": None, "error": str(error)} for where, error in damaged)


def _checked(store: Store, location: str, key: Key | None) -> dict[str, Any]:
    try:
        contents = read_contents(store.open(location), key)
    except SnapshotError as error:
        return {"location": location, "uuid": None, "state": None, "error": str(error)}
    return {"location": location, "uuid": contents.header.uuid, "state": contents.state, "error": None}


def deliver(
    place: Annotated[
        str, typer.Argument(help="What they wait for: a URL such as 's3://BUCKET/FOLDER'. [that of --odbc]")
    ] = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    spool: options.Spool = DEFAULT_SPOOL,
    as_json: options.Json = False,
) -> None:
    """Delivers the snapshots that wait in a spool.

    The next run would do so, too. Each is verified first, and removed from the spool once the database has confirmed that all
    of it is there. The exit code is 1 if one still waits.

    \b
    veles-snapshots deliver --odbc DSN=runs --spool outputs/spool
    veles-snapshots deliver s3://bucket/runs
    """
    store = options.shelf(place, odbc, table_name, spool).store
    if not isinstance(store, SpoolStore):
        raise ConfigError(f"no snapshots wait for {place!r}: name the database with --odbc, or the URL of a bucket")
    delivered, waiting = dict(store.deliver()), list(store.waiting)
    if as_json:
        dump({"delivered": delivered, "waiting": waiting})
    else:
        for location in delivered.values():
            say(f"delivered: {location}")
        for location in waiting:
            say(f"still waiting: {location}")
        say(f"{len(delivered)} delivered, {len(waiting)} waiting")
    if waiting:
        raise typer.Exit(1)


def ddl(
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    system: Annotated[
        str | None, typer.Option("--system", help="Without a connection: the database system, such as PostgreSQL.")
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="What adds the columns that tables of earlier versions lack.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Prints the SQL that creates the tables.

    It is for an administrator who creates them: see snapshotter.create_table=false.

    \b
    veles-snapshots ddl --system PostgreSQL --table runs
    veles-snapshots ddl --odbc DSN=runs | psql
    """
    from runner.snapshots.odbc.connection import connect
    from runner.snapshots.odbc.dialects import DIALECTS, QUOTES, check_table, dialect_of
    from runner.snapshots.odbc.statements import Statements

    check_table(table_name, "--table")
    if (odbc is None) is (system is None):
        raise ConfigError("ddl needs the database (--odbc), or the name of its system (--system)")
    if system is not None:
        name = next((known for known in DIALECTS if known.lower() == system.lower()), None)
        if name is None:
            raise ConfigError(f"--system {system!r} is not a system that is known; {choices(system, DIALECTS)}")
        dialect, quote = dialect_of(name), QUOTES.get(name, '"')
    else:
        with connect(passwords.conceal(odbc or ""), 3.0) as connection:
            dialect, quote = connection.dialect, connection.quote
    sql = Statements(table_name, dialect, quote)
    statements = list(sql.widen) if upgrade else [statement for one in (sql.main, sql.chunks) for statement in one.create]
    if as_json:
        dump(statements)
    else:
        for statement in statements:
            say(f"{statement};")
