"""The command of `veles-snapshots` about the code that is kept with a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from runner.cli.shelf import options
from runner.cli.shelf.printing import Column, dump, say, size, table
from runner.cli.shelf.resuming import source_of
from runner.errors import ConfigError, StoreError
from runner.snapshots.kept_code import KeptCode, counted, difference
from runner.snapshots.stores.location import DEFAULT_TABLE


def code(
    snapshot: options.Snapshot,
    extract: Annotated[
        Path | None, typer.Option("--extract", help="Write the files into this new folder.", metavar="FOLDER")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print how the files of today differ from them.")] = False,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    as_json: options.Json = False,
) -> None:
    """Lists the code that made a snapshot.

    It says how today's differs. What is kept is the source of the modules of your own units, your conf file, and the git
    commit. Nothing of it is run; to run it, see restore.code=snapshot. Today's files are looked for from the current folder.

    \b
    veles-snapshots code latest --diff
    veles-snapshots code tag:baseline --extract baseline-code
    """
    entry, store = options.shelf(place, odbc, table_name).find(snapshot)
    kept = KeptCode.of(entry.header, store)
    if extract is not None:
        _extract(kept, extract)
    rows = [_row(kept, file, module, diff) for module, file in kept.modules.items()]
    if as_json:
        dump({"files": rows, "conf": kept.conf and kept.conf[0], "commit": kept.commit, "left_out": list(kept.left_out)})
    elif diff:
        for row in rows:
            for line in row["diff"]:
                say(line)
    else:
        table(
            rows,
            (
                Column("file", lambda row: row["file"]),
                Column("size", lambda row: size(row["size"]), right=True),
                Column("today", lambda row: row["now"]),
            ),
        )
        say(f"conf: {kept.conf[0] if kept.conf else 'none of your own'}")
        say(f"commit: {kept.commit or 'not in git'}{', changed since' if kept.changes else ''}")
        for name in kept.left_out:
            say(f"left out, since there was no room: {name}")


def _row(kept: KeptCode, file: str, module: str, diff: bool) -> dict[str, Any]:
    """Returns what is told of a file: its size, and how today's differs, in a word or line by line."""
    text, path = kept.files[file], source_of(module)
    today = None if path is None else path.read_bytes().decode(errors="replace")
    now = "not found" if today is None else "the same" if today == text else counted(text, today)
    row = {"file": file, "module": module, "size": len(text.encode(errors="replace")), "now": now}
    return {**row, "diff": list(difference(text, today or "", file))} if diff else row


def _extract(kept: KeptCode, folder: Path) -> None:
    """Writes the files below a folder that is made for them, so that nothing there can lead elsewhere."""
    texts = {**kept.files, **({kept.conf[0]: kept.conf[1]} if kept.conf else {})}
    if kept.changes:
        texts["changes.diff"] = kept.changes
    try:
        folder.mkdir()
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
                file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{str(folder)!r} exists: name a new folder") from error
    except OSError as error:
        raise StoreError(f"cannot write to {str(folder)!r}: {error.strerror}") from error
