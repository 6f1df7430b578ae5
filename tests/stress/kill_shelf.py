"""Kills `veles-snapshots` at random moments of cp, rm, prune and tag: nothing acknowledged is lost, no half copy is listed.

`python -m tests.stress.kill_shelf SEED COUNT` kills as many commands of each kind before they end, prints a dict of how many
those were and what went wrong, and ends with exit code 1 if anything did.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import typer.main

from runner.cli.shelf.app import app
from runner.errors import SnapshotError
from runner.snapshots import codecs
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.format.reader import verify
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.marks import Mark
from runner.snapshots.stores.store import Store
from tests.servers import odbc_settings

CODEC = codecs.find("zst")
KINDS = ("cp", "rm", "prune", "tag")
SNAPSHOTS = 5
SIZE = 300_000
MEMORY = Path("/dev/shm")


def snapshot(number: int, rng: random.Random) -> tuple[Header, bytes]:
    run = str(uuid.UUID(int=1))
    header = Header(
        name=f"a_{number}",
        prefix="a",
        workflow="a",
        workflow_class="m:C",
        run_id=run,
        log_id=run,
        codec="zst",
        epoch=number,
        score=float(number),
        time=f"2026-11-{10 + number}T00:00:00.000000+00:00",
    )
    plain = header_bytes(header) + b"\x80\x05B" + SIZE.to_bytes(4, "little") + rng.randbytes(SIZE) + b"."
    digest = Digest()
    digest.update(plain)
    return header, bytes(CODEC.encode(plain + digest.trailer(), 1))


def killed(arguments: list[str], output: Path, delay: float) -> tuple[list[str], bool, float]:
    """Runs a command and kills it after a time; returns the whole lines that it printed, whether it had ended, and its time."""
    output.write_text("")  # it may be killed before it has opened it
    child = os.fork()
    if not child:
        try:
            descriptor = os.open(output, os.O_WRONLY)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 it lives as long as the process
            typer.main.get_command(app)(arguments, standalone_mode=False)
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    began = time.monotonic()
    ended = 0
    while not ended and time.monotonic() - began < delay:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.0005)
    took = time.monotonic() - began
    if not ended:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    text = output.read_text()
    if ended and status:
        raise RuntimeError(f"{arguments}: {text}")
    return text[: text.rfind("\n") + 1].splitlines(), bool(ended), took


def run(rng: random.Random, kills: int) -> tuple[Counter[str], list[str]]:
    """Kills as many commands of each kind; returns how many were killed and had ended, and what went wrong."""
    counts, wrong, longest = Counter[str](), list[str](), dict[str, float]()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder, odbc_settings():
        output = Path(folder, "output")
        for number in count():
            if min(counts[f"killed {kind}"] for kind in KINDS) >= kills:
                break
            place = Path(folder, str(number))
            place.mkdir()
            trial = _Trial(place, rng, in_database=number % 3 == 2)
            left = [one for one in trial.commands() if counts[f"killed {one[0][0]}"] < kills]
            for arguments, check in rng.sample(left, min(2, len(left))):
                kind = arguments[0]
                lines, ended, took = killed(arguments, output, rng.uniform(0, 1.1 * longest.get(kind, 0.1)))
                longest[kind] = max(0.02, took) if ended else longest.get(kind, 0.1)
                counts["ended" if ended else f"killed {kind}"] += 1
                try:
                    trial.check_all_whole()
                    check(lines, ended)
                except (AssertionError, SnapshotError) as error:
                    wrong.append(f"{arguments} {number}: {error!r}")
            shutil.rmtree(place)
    return counts, wrong


class _Trial:
    """A place with snapshots, and one to copy them to."""

    def __init__(self, folder: Path, rng: random.Random, in_database: bool) -> None:
        self.folder = folder
        odbc = f"DRIVER={{SQLite3}};Database={folder / 'runs.db'}"
        self.store: Store = OdbcStore(odbc) if in_database else FileStore(folder / "here")
        self.store.prepare()
        self.place = ["--odbc", odbc] if in_database else [str(folder / "here")]
        self.within = ["--odbc", odbc] if in_database else ["--in", str(folder / "here")]
        self.headers = []
        for number in range(SNAPSHOTS):
            header, data = snapshot(number, rng)
            self.store.put(header, CODEC, [data])
            self.headers.append(header)
        last = next(entry for entry in self.store.list() if entry.header.uuid == self.headers[4].uuid)
        self.store.mark(last.location, Mark(last.header.uuid, ("old",)))
        self.may_go: set[str] = set()

    def commands(self) -> list[tuple[list[str], Callable[[list[str], bool], None]]]:
        """Returns commands, and what has to hold after each."""
        ids = [header.uuid for header in self.headers]
        there = str(self.folder / "there")
        return [
            (["cp", *ids, *self.within, "--to", there], self.check_copied),
            (["cp", *ids, *self.within, "--to", there, "--compression", "gz"], self.check_copied),
            (["rm", ids[1], ids[2], *self.within], self.check_gone(ids[1:3])),
            (["prune", *self.place, "--keep-last", "2", "--yes"], self.check_gone(ids[:3])),
            (["tag", ids[4], "good", *self.within], self.check_tagged("good", ids[4])),
            (["tag", ids[3], "old", "--move", *self.within], self.check_tagged("old", ids[3], ids[4])),
        ]

    def check_all_whole(self) -> None:
        """All that is listed is whole."""
        for store in (self.store, FileStore(self.folder / "there")):
            for entry in store.list(_raise):
                assert verify(store.open(entry.location)).uuid == entry.header.uuid

    def check_copied(self, lines: list[str], ended: bool) -> None:
        copies = {entry.header.uuid[:8] for entry in FileStore(self.folder / "there").list()}
        told = {line.split()[0] for line in lines if " -> " in line}
        assert told <= copies, f"told {told}, there are {copies}"
        assert not ended or self.may_go or len(copies) == SNAPSHOTS

    def check_gone(self, ids: list[str]) -> Callable[[list[str], bool], None]:
        def check(lines: list[str], ended: bool) -> None:
            left = {entry.location: entry.header.uuid for entry in self.store.list()}
            told = [line.removeprefix("deleted: ") for line in lines if line.startswith("deleted: ")]
            assert not {*told} & left.keys()
            assert {header.uuid for header in self.headers} - {*ids} - self.may_go <= {*left.values()}
            self.may_go |= {*ids}
            assert not ended or not {*ids} & {*left.values()}

        return check

    def check_tagged(self, tag: str, now: str, before: str | None = None) -> Callable[[list[str], bool], None]:
        def check(lines: list[str], ended: bool) -> None:
            marks = self.store.marks()
            found = {uuid for uuid, mark in marks.items() if tag in mark.tags}
            assert found <= {now, before}
            assert found or before is None, "a tag that was moved is lost"
            assert not ended or found == {now}
            assert any("old" in mark.tags for mark in marks.values())

        return check


def _raise(location: str, error: SnapshotError) -> None:
    raise AssertionError(f"{location} is listed: {error}")


def main(seed: str, kills: str) -> None:
    counts, wrong = run(random.Random(int(seed)), int(kills))
    print(*wrong, sep="\n", file=sys.stderr, end="")
    print({**counts, "wrong": len(wrong)})
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
