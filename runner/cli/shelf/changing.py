"""Commands of `veles-snapshots` that change something: cp, rm, prune, tag, note."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer

from runner import passwords
from runner.cli.shelf import options
from runner.cli.shelf.looking import rows_of
from runner.cli.shelf.printing import ENTRIES, dump, dump_rows, say, short, table, warn
from runner.errors import ConfigError, RunInUseError, SnapshotDamagedError, SnapshotError, SnapshotNotFoundError
from runner.snapshots import codecs
from runner.snapshots.claims import Claims
from runner.snapshots.codecs import Codec
from runner.snapshots.format.reader import verify
from runner.snapshots.shelf.copying import copy
from runner.snapshots.shelf.lineage import begun_from
from runner.snapshots.shelf.marking import rewrite
from runner.snapshots.shelf.pruning import Rules, prunable, run_of
from runner.snapshots.shelf.shelf import Shelf, own_store
from runner.snapshots.shelf.wanted import moment
from runner.snapshots.stores import whole_store
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.file_system import mode_like, read_mode
from runner.snapshots.stores.location import DEFAULT_TABLE, SCHEME
from runner.snapshots.stores.marks import LONGEST_NOTE, Mark, check_tag
from runner.snapshots.stores.store import Entry, Store, Unreadable

Names = Annotated[
    list[str], typer.Argument(help="Files, locations, ids as `ls` shows them, latest, best, tag:NAME.", metavar="SNAPSHOT...")
]


def cp(
    snapshots: Annotated[
        list[str], typer.Argument(help="Snapshots as for `show`, or folders, of which all are copied.", metavar="SNAPSHOT...")
    ],
    to: Annotated[str | None, typer.Option("--to", help="Where to: a folder, or a URL.", metavar="PLACE")] = None,
    to_odbc: Annotated[str | None, typer.Option("--to-odbc", help="Where to: a database, as a connection string.")] = None,
    to_table: Annotated[str, typer.Option("--to-table", help="The table in that database.")] = DEFAULT_TABLE,
    compression: Annotated[str | None, typer.Option("--compression", "-c", help="Codec of the copies. [as they are]")] = None,
    level: Annotated[int | None, typer.Option("--level", help="Level of the codec. [the codec's own]")] = None,
    check: Annotated[
        bool, typer.Option("--verify", help="Verify each snapshot before it is copied, and each that is there already.")
    ] = False,
    mode: Annotated[
        str | None, typer.Option("--mode", help="Permissions of new files, such as 0600. [those of the files]")
    ] = None,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Copies snapshots.

    They go to another folder, database or codec, with their tags, notes and code. What a snapshot holds stays the same byte for
    byte, its signature and its id included. One that is there already is not copied again, so a copy that was interrupted may
    simply be repeated. A copy is there completely, or not at all.

    \b
    veles-snapshots cp best --to backup
    veles-snapshots cp outputs --to-odbc 'DRIVER={SQLite3};Database=runs.db'
    veles-snapshots cp latest --odbc DSN=runs --to . --compression xz
    """
    codec = _codec(compression, level)
    target = _target(to, to_odbc, to_table, mode)
    there, written = {entry.header.uuid: entry.location for entry in target.list()}, target.marks()
    tagged = {tag: uuid for uuid, mark in written.items() if uuid in there for tag in mark.tags}
    copied: list[dict[str, str]] = []
    with_code: set[str | None] = {None}
    passed_over: list[str] = []

    def pass_over(location: str, error: SnapshotError) -> None:
        passed_over.append(location)
        warn(f"{location} is passed over: {error}")

    for entry, source, mark in _named(snapshots, place, odbc, table_name, pass_over):
        uuid, known = entry.header.uuid, there.get(entry.header.uuid)
        told = f"{short(uuid)} is there already: {known}"
        try:
            if check:
                verify((source if known is None else target).open(known or entry.location))
            if known is None:
                like = _like(target, entry, source)
                if entry.header.kept_code not in with_code:
                    with_code.add(entry.header.kept_code)
                    _copy_code(entry.header.kept_code or "", source, like)
                known = there[uuid] = copy(entry, source, like, codec, level)
                copied.append({"uuid": uuid, "from": entry.location, "to": known})
                told = f"{short(uuid)} -> {known}"
        except SnapshotDamagedError as error:
            pass_over(known or entry.location, error)
            continue
        if mark is not None and (added := _added(written.get(uuid, Mark(uuid)), _without_taken(mark, tagged))):
            target.mark(known, added)
        if not as_json:
            say(told)
    if isinstance(target, FileStore):
        target.point_to_newest()  # also after one that was interrupted
    if as_json:
        dump(copied)
    if passed_over:
        raise typer.Exit(1)


def _codec(compression: str | None, level: int | None) -> Codec | None:
    if compression is None:
        if level is not None:
            raise ConfigError(f"--level={level} is the level of a codec: name it with --compression")
        return None
    codec = codecs.find(compression, "--compression")
    codec.check_level(level, "--level")
    return codec


def _without_taken(mark: Mark, tagged: dict[str, str]) -> Mark:
    """Returns what is written on a copy: without the tags that are on other snapshots there, where they stay.

    Args:
        mark: what is written on the snapshot.
        tagged: the UUID of the snapshot that has each tag; those of this one are added.
    """
    for tag in mark.tags:
        if (other := tagged.setdefault(tag, mark.uuid)) != mark.uuid:
            warn(f"{short(mark.uuid)}: the tag {tag} is on {short(other)} there, and stays there")
    return replace(mark, tags=tuple(tag for tag in mark.tags if tagged[tag] == mark.uuid))


def _added(there: Mark, copied: Mark) -> Mark | None:
    """Returns what is written on a copy with tags that came later, and the note if it has none; None if nothing is new."""
    tags = (*there.tags, *(tag for tag in copied.tags if tag not in there.tags))
    both = replace(there, tags=tags, note=there.note or copied.note)
    return None if both == there else both


def _like(target: Store, entry: Entry, source: Store) -> Store:
    """Returns the target; in a folder, unless a mode was given, the copy of a file is for those whom that was for."""
    if isinstance(target, FileStore) and target.mode is None and isinstance(source, FileStore):
        return FileStore(target.directory, mode_like(entry.location))
    return target


def _copy_code(digest: str, source: Store, target: Store) -> None:
    if (code := source.kept_code(digest)) is not None:
        target.keep_code(digest, code)


def _target(to: str | None, to_odbc: str | None, to_table: str, mode: str | None) -> Store:
    if (to is None) is (to_odbc is None):
        raise ConfigError("say where to copy to with --to PLACE or --to-odbc CONNECTION")
    if to_odbc is None and to_table != DEFAULT_TABLE:
        raise ConfigError(f"--to-table={to_table} is a table in a database: name it with --to-odbc")
    if to is not None and "://" not in options.named("--to", to):
        return FileStore(to, read_mode(mode, "--mode"))
    if mode is not None:
        raise ConfigError(f"--mode={mode} is for files, and the copies go to {to or to_odbc}")
    if to_odbc is not None:
        from runner.snapshots.odbc.dialects import check_table

        check_table(to_table, "--to-table")
    store = whole_store(passwords.conceal(to) if to is not None else f"{SCHEME}{passwords.conceal(to_odbc or '')}&{to_table}")
    store.prepare()
    return store


def _named(
    names: Iterable[str], place: str, odbc: str | None, table_name: str, unreadable: Unreadable
) -> Iterator[tuple[Entry, Store, Mark | None]]:
    """Yields the snapshots that names stand for, and what is written on them; a folder stands for all in it, oldest first."""
    shelf: Shelf | None = None
    for name in names:
        if Path(name).is_dir():
            folder = options.shelf(name)
            entries = list(folder.entries(unreadable=unreadable))
            yield from ((entry, folder.store, folder.marks.get(entry.header.uuid)) for entry in reversed(entries))
        else:
            shelf = shelf or options.shelf(place, odbc, table_name)
            entry, store = shelf.find(name)
            yield entry, store, store.marks().get(entry.header.uuid)


def rm(
    snapshots: Names,
    force: Annotated[bool, typer.Option("--force", "-f", help="Also those that a run began from, or that are tagged.")] = False,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Deletes the snapshots that are named.

    One from which another run began, or that is tagged, is only deleted with --force; one of a run that is going on, never. If
    any of them may not be deleted, none is.

    \b
    veles-snapshots rm 3fa1bc02 outputs/old/mnist_validation_9.00_train_8.00.5.pickle.gz
    """
    shelf = options.shelf(place, odbc, table_name)
    found = list({entry.location: (entry, store) for entry, store in map(shelf.find, snapshots)}.values())
    if not force:
        for entry, store in found:
            _check_unneeded(entry, store, shelf)
    _delete([entry for entry, _ in found], {entry.location: store for entry, store in found})
    for owner in {own.place: own for own in (own_store(entry, store) for entry, store in found)}.values():
        if isinstance(owner, FileStore):
            owner.point_to_newest()
    _tell_deleted([entry for entry, _ in found], as_json)


def _check_unneeded(entry: Entry, store: Store, shelf: Shelf) -> None:
    if (mark := store.marks().get(entry.header.uuid)) is not None and mark.tags:
        raise ConfigError(f"{entry.location!r} has the tag {mark.tags[0]}: --force deletes it all the same")
    children = begun_from(shelf.entries())
    if entry.header.uuid in children:
        raise ConfigError(
            f"a run began from {entry.location!r} ({short(children[entry.header.uuid])}): --force deletes it all the same"
        )


def prune(
    place: options.Place = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    keep_best: Annotated[int | None, typer.Option("--keep-best", min=0, help="Keep so many with the lowest errors.")] = None,
    keep_last: Annotated[int | None, typer.Option("--keep-last", min=0, help="Keep so many of the newest.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Delete only what is older: an age (90m, 12h, 7d) or a date.")
    ] = None,
    workflow: options.Workflow = None,
    run: options.Run = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it. Without this, it only says what would be deleted.")] = False,
    as_json: options.Json = False,
) -> None:
    """Deletes snapshots that no rule keeps.

    Without --yes it only lists them. The rules are for each run. With both --keep-best and --keep-last, a snapshot is kept if
    either rule keeps it. Always kept are the newest of each run, those from which another run began, those that are tagged or
    have a note, and all of a run that is going on.

    \b
    veles-snapshots prune outputs --keep-best 3 --keep-last 1
    veles-snapshots prune --odbc DSN=runs --older-than 30d --yes
    """
    if not (keep_best or keep_last or older_than):
        raise ConfigError("say what is to be kept: --keep-best N, --keep-last N, --older-than AGE")
    shelf = options.shelf(place, odbc, table_name)
    wanted = options.wanted(workflow, run, None, None, None)
    entries = list(shelf.entries())
    rules = Rules(keep_best, keep_last, None if older_than is None else moment(older_than))
    among = {entry.header.uuid for entry in entries if wanted.admits(entry.header)}
    damaged: list[str] = []
    found = prunable(entries, shelf.marks, rules, among, cache(partial(_is_whole, shelf, damaged)))
    if yes:
        _tell_deleted(_delete_by_run(found, shelf), as_json)
    elif as_json:
        dump_rows(rows_of(found, shelf.marks))
    elif table(rows_of(found, shelf.marks), ENTRIES):
        say(f"These {len(found)} of {len(entries)} would be deleted: add --yes to do it")
    else:
        say(f"None of {len(entries)} would be deleted")
    if damaged:
        raise typer.Exit(1)


def _delete_by_run(found: list[Entry], shelf: Shelf) -> list[Entry]:
    """Deletes snapshots, but for those of runs that are going on; returns those that are gone."""
    done: list[Entry] = []
    for one in dict.fromkeys(map(run_of, found)):
        batch = [entry for entry in found if run_of(entry) == one]
        try:
            _delete(batch, {entry.location: shelf.store for entry in batch})
            done += batch
        except RunInUseError as error:
            warn(f"left: {error}")
        except SnapshotNotFoundError as error:
            warn(f"left, since something else is deleting there: {error}")
    return done


def _is_whole(shelf: Shelf, damaged: list[str], location: str) -> bool:
    """Whether a snapshot is undamaged; if not, says so and adds it to those that are damaged."""
    try:
        verify(shelf.store.open(location))
    except SnapshotDamagedError as error:
        damaged.append(location)
        warn(f"{location} is left, and counted as none that is kept: {error}")
        return False
    return True


def _delete(entries: list[Entry], stores: dict[str, Store]) -> None:
    """Deletes snapshots while nobody goes on with their runs."""
    with Claims() as claims:
        for entry in entries:
            claims.take(own_store(entry, stores[entry.location]), *run_of(entry))
        for store in dict.fromkeys(stores.values()):
            store.delete(*(entry.location for entry in entries if stores[entry.location] is store))


def _tell_deleted(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        dump([entry.location for entry in entries])
    else:
        for entry in entries:
            say(f"deleted: {entry.location}")
        if not entries:
            say("none was deleted")


def tag(
    snapshot: options.Snapshot,
    name: Annotated[str, typer.Argument(help="The tag: letters, digits and _ . + -", metavar="TAG")],
    delete: Annotated[bool, typer.Option("--delete", "-d", help="Take the tag away.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Take the tag from the snapshot that has it.")] = False,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Gives a snapshot a tag.

    By it, it can be named: `tag:TAG` here, and snapshot=tag:TAG for veles-run. A tag is on one snapshot of a place at a time.
    The snapshot itself is not changed: what is written on it stands beside it.

    \b
    veles-snapshots tag best baseline
    veles-run mnist snapshot=tag:baseline mode=evaluate
    """
    check_tag(name)
    shelf = options.shelf(place, odbc, table_name)
    entry, store = shelf.find(snapshot)
    others = [one for one in shelf.tagged(name) if one.header.uuid != entry.header.uuid]

    def without(mark: Mark) -> Mark:
        if delete and name not in mark.tags:
            raise SnapshotNotFoundError(f"{entry.location!r} has no tag {name}")
        return replace(mark, tags=tuple(one for one in mark.tags if one != name))

    def with_it(mark: Mark) -> Mark:
        return replace(mark, tags=tuple(dict.fromkeys([*mark.tags, name])))

    if others and not move and not delete:
        raise ConfigError(f"{others[0].location!r} has the tag {name}: --move takes it from there")
    written = rewrite(entry, store, own_store(entry, store), without if delete else with_it)
    for other in others if move and not delete else ():
        rewrite(other, shelf.store, own_store(other, shelf.store), without)
    if as_json:
        dump(vars(written))


def note(
    snapshot: options.Snapshot,
    text: Annotated[str | None, typer.Argument(help="The note; '' takes it away. Without it, the note is printed.")] = None,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Writes a note on a snapshot, or prints it.

    \b
    veles-snapshots note latest 'before the data were cleaned'
    veles-snapshots note latest
    """
    entry, store = options.shelf(place, odbc, table_name).find(snapshot)
    if text is None:
        mark = store.marks().get(entry.header.uuid) or Mark(entry.header.uuid)
    elif len(text) > LONGEST_NOTE:
        raise ConfigError(f"a note has at most {LONGEST_NOTE} characters, and this one {len(text)}")
    else:
        mark = rewrite(entry, store, own_store(entry, store), lambda mark: replace(mark, note=text))
    if as_json:
        dump(vars(mark))
    elif text is None:
        say(mark.note)
