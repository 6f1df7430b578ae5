"""Commands of `veles-snapshots` about what a resume would make of a snapshot: diff, why."""

from __future__ import annotations

import hashlib
import math
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.shelf import options
from runner.cli.shelf.printing import Column, dump, number, say, short, table, time_of
from runner.errors import RunInUseError, SnapshotError
from runner.flat import flattened, is_reference
from runner.snapshots.claims import Claims
from runner.snapshots.format.header import Header
from runner.snapshots.shelf.contents import Contents, read_contents
from runner.snapshots.shelf.pruning import run_of
from runner.snapshots.shelf.shelf import own_store
from runner.snapshots.stores.location import DEFAULT_TABLE
from runner.snapshots.stores.store import Entry, Store

if TYPE_CHECKING:
    from runner.snapshots.shelf.comparing import Difference

MOST_NAMES = 1000
"""Of the classes and functions that a snapshot names; an honest one has some dozens."""


def diff(
    first: Annotated[str, typer.Argument(help="A snapshot, named as for `show`.", metavar="A")],
    second: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
    everything: Annotated[bool, typer.Option("--all", "-a", help="List also the arrays that are equal.")] = False,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Compares two snapshots.

    Compared are configuration, metrics, versions, code, and each array. Of arrays that differ it gives the largest and the mean
    absolute difference, and the norm of the difference relative to that of A. The exit code is 0 if nothing differs but when
    and where they were taken, and 1 otherwise.

    \b
    veles-snapshots diff 3fa1bc02 latest
    veles-snapshots diff tag:baseline outputs/run/mnist_current.5.pickle.gz --json
    """
    from runner.snapshots.shelf.comparing import compare

    shelf = options.shelf(place, odbc, table_name)
    (one, here), (other, there) = shelf.find(first), shelf.find(second)
    with options.about(one.location, other.location):
        found = compare(lambda: here.open(one.location), lambda: there.open(other.location))
    headers = found.first.header, found.second.header
    parts = {part: _differing(*(_part(header, part) for header in headers)) for part in _PARTS}
    parts["place"] = _differing(*({"epoch": header.epoch, "iteration": header.iteration} for header in headers))
    ours, theirs = ({array.path: array for array in contents.arrays} for contents in (found.first, found.second))
    rows = [
        {"path": path, "dtype": ours[path].dtype, "shape": list(ours[path].shape), **_figures(apart)}
        for path, apart in found.arrays.items()
    ]
    only = {"only_in_a": sorted(ours.keys() - theirs.keys()), "only_in_b": sorted(theirs.keys() - ours.keys())}
    differs = any(parts.values()) or any(only.values()) or not all(row["equal"] for row in rows)
    if as_json:
        dump({"a": one.location, "b": other.location, "equal": not differs, **parts, "arrays": rows, **only})
    else:
        _print_difference(parts, rows, only, everything)
    if differs:
        raise typer.Exit(1)


_PARTS = ("config", "metrics", "versions", "code", "overrides")
"""Parts of headers that are compared."""
_OF_PROCESS = ("snapshot", "restore", "mode", "graph")
"""Keys of the configuration that say nothing of the run."""


def _figures(apart: Difference | None) -> dict[str, Any]:
    """Returns how two arrays differ; JSON has no number for what is infinite, or none."""
    if apart is None:
        return {"equal": False}
    return {key: value if value is None or math.isfinite(value) else str(value) for key, value in vars(apart).items()}


def _part(header: Header, name: str) -> Mapping[str, Any]:
    value = getattr(header, name)
    if not isinstance(value, Mapping):
        return {"all": value}
    return flattened(_settled(value) if name == "config" else value)


def _settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the run's part of a configuration, with all settings of its layers, as only runs that went on have them."""
    from runner.config import settle_layers

    own = {key: value for key, value in config.items() if key not in _OF_PROCESS}
    try:
        settle_layers(settled := SimpleNamespace(**own))
    except Exception:  # it is of another version, refers to the environment, or is meant to hurt
        return own
    return vars(settled)


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns what differs; what is not set is as good as missing."""
    return {key: (ours.get(key), theirs.get(key)) for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)}


def _print_difference(
    parts: Mapping[str, dict[str, tuple[Any, Any]]], rows: list[dict[str, Any]], only: Mapping[str, list[str]], everything: bool
) -> None:
    lines = [(f"{part} {key}", *pair) for part, found in parts.items() for key, pair in found.items()]
    if table(lines, (Column("", _first), Column("A", lambda row: _text(row[1])), Column("B", lambda row: _text(row[2])))):
        say()
    table(
        [row for row in rows if everything or not row["equal"]],
        (
            Column("array", lambda row: row["path"]),
            Column("type", lambda row: row["dtype"], importance=5),
            Column("shape", lambda row: " x ".join(map(str, row["shape"])), importance=6),
            Column("", lambda row: "equal" if row["equal"] else "" if row.get("mean") is not None else "differs"),
            Column("largest", lambda row: _figure(row.get("largest")), right=True),
            Column("mean", lambda row: _figure(row.get("mean")), right=True),
            Column("relative", lambda row: _figure(row.get("relative")), right=True),
        ),
    )
    for title, paths in (("only in A", only["only_in_a"]), ("only in B", only["only_in_b"])):
        for path in paths:
            say(f"{title}: {path}")
    say(f"{sum(row['equal'] for row in rows)} of {len(rows)} arrays are equal")


def _figure(value: float | str | None) -> str:
    return value if isinstance(value, str) else number(value)


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def why(
    snapshot: options.Snapshot,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Says what a resume would do, and refuse.

    That is what a resume from the snapshot, here and now, would do over, change, and refuse. The exit code is 1 if it would be
    refused as it is; what to type is said.

    \b
    veles-snapshots why latest
    """
    shelf = options.shelf(place, odbc, table_name)
    entry, store = shelf.find(snapshot)
    with options.about(entry.location):
        contents = read_contents(store.open(entry.location))
    later = [one for one in shelf.entries() if one.header.log_id == entry.header.log_id and one.header.time > entry.header.time]
    told = {
        "over": list(_over(entry.header, later)),
        "changes": list(_changes(entry.header)),
        "refused": list(_refused(entry, store, contents)),
    }
    if as_json:
        dump(told)
    else:
        for title, lines in told.items():
            for line in lines or ["nothing"]:
                say(f"{title:9}{line}")
    if told["refused"]:
        raise typer.Exit(1)


def _over(header: Header, later: list[Entry]) -> Iterator[str]:
    if header.complete:
        yield "the run was complete: it ends at once, unless its limit is extended"
    if later:
        newest = later[0].header
        yield (
            f"the run went on to epoch {newest.epoch} ({len(later)} later snapshots, the newest {short(newest.uuid)} of"
            f" {time_of(newest.time)} UTC): what is named goes on as a branch, and does this again"
        )


def _changes(header: Header) -> Iterator[str]:
    for package, version in header.versions.items():
        now = platform.python_version() if package == "python" else _version(package)
        if now != version:
            yield f"{package} was {version} and is {now or 'not installed'}: results may differ"
    for module, digest in header.code.items():
        path = source_of(module)
        if path is None:
            yield f"the code of {module} is not found from here"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"the code of {module} has changed: {path}"
    for key, value in flattened(header.config).items():
        if is_reference(value):
            yield f"{key} is {value}, which is looked up again"


def _version(package: str) -> str | None:
    from importlib import metadata  # it takes as long as all else that the commands import

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def source_of(module: str) -> Path | None:
    """Returns the source file of a module, as an import would find it; nothing is imported."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for folder in ["", *sys.path]:
        path = Path(folder or ".", *parts)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _refused(entry: Entry, store: Store, contents: Contents) -> Iterator[str]:
    try:
        with Claims() as claims:
            claims.take(own_store(entry, store), *run_of(entry))
    except RunInUseError as error:
        yield str(error)
    yield from _not_allowed(contents)
    settings = entry.header.config.get("snapshotter")
    if isinstance(settings, Mapping) and (key := settings.get("key")) is not None:
        yield f"its snapshots were signed, and no snapshot has the key: snapshotter.key={key}, or snapshotter.key=null"


def _not_allowed(contents: Contents) -> Iterator[str]:
    """Yields what a restricted restore would refuse for its name; names of one package of the user's own together."""
    from runner.snapshots.unpickling.allowed.allowed import Allowed
    from runner.snapshots.unpickling.allowed.entries import GIVEN

    allowed, own = Allowed(), dict[str, list[str]]()
    for module, name in sorted(contents.names)[:MOST_NAMES]:
        if (package := module.partition(".")[0]) not in GIVEN:
            own.setdefault(package, []).append(f"{module}.{name}")
            continue
        try:
            allowed.find(module, name)
        except SnapshotError as error:
            yield str(error)
    for package, names in own.items():
        listed = ", ".join(names[:3])
        yield f"it holds {listed}, which has to be declared: restore.trusted=[{package}], or your conf file's _target_"
