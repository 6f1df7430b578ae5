"""Types random commands of `veles-snapshots` on random histories, and compares what is there with a model of what was promised.

`python -m tests.stress.manage_snapshots SEED COUNT` prints how many commands of each kind were typed in so many places. The
model is written from docs/managing.md; what is there is read from the folder, or from the table by sqlite3, beside `ls`.
"""

import json
import os
import pickle
import random
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.snapshots.format.header import Header
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.stores.file import FileStore
from tests import forked
from tests.servers import odbc_settings
from tests.shelves import Made, header
from tests.stress.rounds import Failure, naming, rounds

RUNS, TAGS = "abc", ("x", "y.1")
CODECS = ("gz", "xz", "bz2", "snappy", "zst", "none")


@dataclass
class Place:
    """A folder or a database, and what should be in it.

    Attributes:
        path: the folder, or the file of the database.
        nested: whether each run has a folder of its own.
        headers: what is there, by id.
        tags, notes: by id.
    """

    path: Path
    nested: bool = False
    headers: dict[str, Header] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def is_database(self) -> bool:
        return self.path.suffix == ".db"

    @property
    def odbc(self) -> str:
        return f"DRIVER={{SQLite3}};Database={self.path}"

    @property
    def named(self) -> list[str]:
        """The words that name it."""
        return ["--odbc", self.odbc] if self.is_database else [str(self.path)]

    @property
    def within(self) -> list[str]:
        """The words that say where to look an id up."""
        return ["--odbc", self.odbc] if self.is_database else ["--in", str(self.path)]

    def newest_first(self) -> list[Header]:
        return sorted(self.headers.values(), key=lambda one: one.time, reverse=True)

    def begun_from(self) -> set[str]:
        """Returns the ids from which a process went on; where that one is gone, the newest of the process before of its run."""
        processes: dict[str, list[Header]] = {}
        for one in reversed(self.newest_first()):
            processes.setdefault(one.run_id, []).append(one)
        found: set[str] = set()
        before: dict[str, Header] = {}
        for first, *_, last in ([one[0], one[-1]] for one in processes.values()):
            if first.parent in self.headers:
                found.add(first.parent)
            elif first.parent is not None and first.log_id in before:
                found.add(before[first.log_id].uuid)
            before[first.log_id] = last
        return found

    def forget(self, uuid: str) -> None:
        del self.headers[uuid]
        self.tags.pop(uuid, None)
        self.notes.pop(uuid, None)

    def count(self) -> int:
        """Returns how many snapshots are there, read by nothing of ours."""
        if not self.is_database:
            return sum(
                not path.is_symlink() and ".pickle" in path.name[1:] and path.name[0] != "." for path in self.path.rglob("*")
            )
        if not self.path.exists():
            return 0
        with sqlite3.connect(self.path) as connection:
            return int(connection.execute("SELECT count(*) FROM veles").fetchone()[0])


class World:
    """Two places, and the snapshots of a few runs in the first."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        first, second = (folder / rng.choice((f"{name}.db", name)) for name in ("here", "there"))
        self.places = [Place(first, rng.random() < 0.5), Place(second)]
        self.damaged: set[str] = set()
        self._fill(self.places[0])

    def _fill(self, place: Place) -> None:
        rng = self.rng
        made: list[Header] = []
        for number in range(rng.randint(2, 14)):
            run, process = rng.choice(RUNS), rng.choice("12")
            before = next((one for one in reversed(made) if one.run_id == header(0, run, run + process).run_id), None)
            parent = before or (rng.choice(made) if made and rng.random() < 0.6 else None)
            score = rng.choice((None, round(rng.uniform(0, 9), 3), round(rng.uniform(0, 9), 3)))
            split = rng.choice(("validation", "train")) if run == "c" else "validation"
            values = {
                "score": score,
                "metrics": {split: score} if score is not None else {},
                "workflow": "mn" if run < "c" else "w",
            }
            made.append(header(number, run, run + process, parent, **values))
            damaged = rng.random() < 0.15
            if damaged:
                self.damaged.add(made[-1].uuid)
            _put(place, made[-1], damaged)
            place.headers[made[-1].uuid] = made[-1]

    def type(self, *words: str, code: int = 0) -> str:
        done = forked.run(words, cwd=self.folder, environment=os.environ, timeout=120, command="veles-snapshots")
        if done.returncode != code or "Traceback" in done.stderr:
            raise Failure(f"{words} ends with {done.returncode} instead of {code}: {done.stdout}{done.stderr}")
        return done.stdout

    def check(self) -> None:
        """Compares all that is there with what should be."""
        for place in self.places:
            if not place.path.exists():
                if place.headers:
                    raise Failure(f"{place.path} is not there")
                continue
            rows = json.loads(self.type("ls", *place.named, "--all", "--json"))
            wanted = [
                (one.uuid, one.score, one.log_id, sorted(place.tags.get(one.uuid, ())), place.notes.get(one.uuid, ""))
                for one in place.newest_first()
            ]
            found = [(row["uuid"], row["error"], row["run"], sorted(row["tags"]), row["note"]) for row in rows]
            if found != wanted:
                raise Failure(f"ls of {place.path.name} has {found} instead of {wanted}")
            if place.count() != len(wanted):
                raise Failure(f"{place.path} has {place.count()} instead of {len(wanted)}")
            told = json.loads(
                self.type("verify", *place.named, "--json", code=int(any(one[0] in self.damaged for one in wanted)))
            )
            if sum(row["error"] is not None for row in told) != sum(one[0] in self.damaged for one in wanted):
                raise Failure(f"verify of {place.path} says {told}")


def _put(place: Place, one: Header, damaged: bool) -> None:
    made = Made("file", None, place.path.parent)
    store: Any = OdbcStore(place.odbc) if place.is_database else FileStore(place.path / (one.log_id if place.nested else ""))
    store.prepare()
    made.store = lambda name: store  # type: ignore[method-assign]
    made.add(one, pickle.dumps(list(range(40)), 5), damaged=damaged)


def _chosen(world: World, place: Place) -> Header:
    return world.rng.choice(list(place.headers.values()))


def list_filtered(world: World, place: Place) -> None:
    rng, limit = world.rng, world.rng.randint(1, 9)
    bound, run = round(rng.uniform(0, 9), 2), rng.choice(RUNS)
    log = header(0, run, run).log_id
    words, found = ["-n", str(limit)], place.newest_first()
    if rng.random() < 0.5:
        words += ["-m", f"error<{bound}"]
        found = [one for one in found if one.score is not None and one.score < bound]
    if rng.random() < 0.5:
        words += ["-r", log[:8]]
        found = [one for one in found if one.log_id == log]
    rows = json.loads(world.type("ls", *place.named, *words, "--json"))
    if [row["uuid"] for row in rows] != [one.uuid for one in found[:limit]]:
        raise Failure(f"ls {words} has {rows}")


def best(world: World, place: Place) -> None:
    wanted = {}
    for name in sorted({one.workflow for one in place.headers.values()}):
        scored = [one for one in place.headers.values() if one.workflow == name and one.score is not None]
        counted = [one for one in scored if "validation" in one.metrics] or scored
        if counted:
            wanted[name] = min(counted, key=lambda one: (one.score, one.time)).uuid
    rows = json.loads(world.type("best", *place.named, "--json", code=0 if wanted else 2) or "[]")
    if {row["workflow"]: row["uuid"] for row in rows} != wanted:
        raise Failure(f"best has {rows} instead of {wanted}")


def latest(world: World, place: Place) -> None:
    told = json.loads(
        world.type(
            "show", "latest", *place.within, "--json", code=0 if place.newest_first()[0].uuid not in world.damaged else 2
        )
        or "{}"
    )
    if told and place.newest_first()[0].uuid not in json.dumps(told):
        raise Failure(f"latest is {told}")


def tag(world: World, place: Place) -> None:
    one, name, move = _chosen(world, place), world.rng.choice(TAGS), world.rng.random() < 0.5
    others = [uuid for uuid, tags in place.tags.items() if name in tags and uuid != one.uuid]
    refused = bool(others) and not move
    world.type("tag", one.uuid[:8], name, *place.within, *(["--move"] if move else []), code=2 if refused else 0)
    if not refused:
        for other in others:
            place.tags[other].remove(name)
        place.tags.setdefault(one.uuid, set()).add(name)


def note(world: World, place: Place) -> None:
    one, text = _chosen(world, place), world.rng.choice(("before", "naïve 'x'", ""))
    world.type("note", one.uuid[:8], text, *place.within)
    place.notes[one.uuid] = text


def remove(world: World, place: Place) -> None:
    chosen = {one.uuid for one in (_chosen(world, place), _chosen(world, place))}
    force = world.rng.random() < 0.4
    needed = place.begun_from() | {uuid for uuid, tags in place.tags.items() if tags}
    refused = bool(chosen & needed) and not force
    words = [uuid[:8] for uuid in sorted(chosen)]
    world.type("rm", *words, *place.within, *(["--force"] if force else []), code=2 if refused else 0)
    if not refused:
        for uuid in chosen:
            place.forget(uuid)


def prune(world: World, place: Place) -> None:
    rng = world.rng
    best, last = rng.choice((None, 1, 2)), rng.choice((None, 1, 3))
    older = f"2026-11-{rng.randint(10, 25)}" if rng.random() < 0.4 or (best, last) == (None, None) else None
    words = [word for name, value in (("best", best), ("last", last)) if value for word in (f"--keep-{name}", str(value))]
    words += ["--older-than", older] if older else []
    log = rng.choice([one.log_id for one in place.headers.values()]) if rng.random() < 0.4 else None
    words += ["--run", log] if log else []
    gone: list[Header] = []
    bad: set[str] = set()
    for run in {one.log_id for one in place.headers.values()} if log is None else {log}:
        old, left = _expired(world, [one for one in place.newest_first() if one.log_id == run], best or 0, last or 0)
        gone += old
        bad |= left
    needed = (
        place.begun_from()
        | {uuid for uuid, tags in place.tags.items() if tags}
        | {uuid for uuid, text in place.notes.items() if text}
    )
    gone = [one for one in gone if one.uuid not in needed and (older is None or one.time < older)]
    listed = json.loads(world.type("prune", *place.named, *words, "--json", code=int(bool(bad))))
    if [row["uuid"] for row in listed] != [one.uuid for one in sorted(gone, key=lambda one: one.time)]:
        raise Failure(f"prune {words} would delete {listed} instead of {[one.uuid for one in gone]}")
    world.type("prune", *place.named, *words, "--yes", code=int(bool(bad)))
    for one in gone:
        place.forget(one.uuid)


def _expired(world: World, run: list[Header], best: int, last: int) -> tuple[list[Header], set[str]]:
    """Returns what no rule keeps of a run, given newest first, and those that would be kept and are damaged."""
    bad: set[str] = set()
    while True:
        counted = [one for one in run if one.uuid not in bad]
        scored = sorted((one for one in counted if one.score is not None), key=lambda one: one.score)  # type: ignore[arg-type, return-value]
        bests = [one for split in ("validation", "train") for one in [one for one in scored if split in one.metrics][:best]]
        kept = {one.uuid for one in (*counted[: max(1, last)], *bests)}
        old = [one for one in counted if one.uuid not in kept]
        found = kept & world.damaged if old else set()
        if not found:
            return old, bad
        bad |= found


def copy(world: World, place: Place) -> None:
    rng = world.rng
    other = next(one for one in world.places if one is not place)
    if other.nested and not other.is_database:
        return  # a copy goes into the folder itself, whatever there is below
    whole = rng.random() < 0.5 and not place.is_database
    chosen = list(place.headers) if whole else list({_chosen(world, place).uuid for _ in range(3)})
    words = [str(place.path)] if whole else [*(uuid[:8] for uuid in chosen), *place.within]
    codec, check = rng.choice((None, None, *CODECS)), rng.random() < 0.3
    words += ["--to-odbc", other.odbc] if other.is_database else ["--to", str(other.path)]
    words += (["-c", codec] if codec else []) + (["--verify"] if check else [])
    taken = {name for tags in other.tags.values() for name in tags}
    if any(place.tags.get(uuid, set()) & taken and uuid not in other.headers for uuid in chosen):
        return  # which of two has the tag then is not said
    refused = {
        uuid
        for uuid in chosen
        if uuid in world.damaged and (check or (uuid not in other.headers and codec not in (None, "gz")))
    }
    world.type("cp", *words, code=int(bool(refused)))
    for uuid in chosen:
        if uuid in refused:
            continue
        other.headers[uuid] = place.headers[uuid]
        if not other.tags.get(uuid) and not other.notes.get(uuid):
            other.tags[uuid] = set(place.tags.get(uuid, ()))
            other.notes[uuid] = place.notes.get(uuid, "")


COMMANDS = (list_filtered, best, latest, tag, tag, note, remove, prune, copy, copy)


def play(folder: Path, rng: random.Random, done: list[str]) -> None:
    world = World(folder, rng)
    world.check()
    for _ in range(rng.randint(3, 12)):
        place = rng.choice([place for place in world.places if place.headers] or [None])
        if place is None:
            break
        command = rng.choice(COMMANDS)
        with naming(f"{command.__name__} {place.path.name}"):
            command(world, place)
            world.check()
        done.append(command.__name__)


if __name__ == "__main__":
    with odbc_settings():
        sys.exit(rounds(play, *map(int, sys.argv[1:3])))
