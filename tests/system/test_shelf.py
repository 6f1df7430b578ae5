"""`veles-snapshots` as a person and a script use it, on files and on each database."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from runner.snapshots import codecs
from runner.snapshots.claims import Claims
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.kept_code import KeptCode
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring.restore import restore
from runner.snapshots.stores import whole_store
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from runner.snapshots.stores.store import Entry, Store
from tests import forked
from tests.buckets import Bucket
from tests.conftest import Run
from tests.servers import KINDS, PASSWORD, Server, Servers, execute, seen_by_client
from tests.stress import kill_shelf
from tests.workflows import stored

GZ = codecs.find("gz")
Shelf = Callable[..., subprocess.CompletedProcess[str]]
IN_ONE = ["file", "postgresql"]
"""Where what only reads is tried: that all databases read alike, the contract of the stores says."""


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    def run(*arguments: object, code: int = 0, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        texts = [str(argument) for argument in arguments]
        done = forked.run(texts, cwd=cwd, environment=os.environ, timeout=120, command="veles-snapshots")
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return run


class Made:
    """Snapshots of two runs of one workflow, and of one of another, in a place that a person can name."""

    def __init__(self, kind: str, servers: Servers | None, folder: Path) -> None:
        self.folder = folder
        self.database: Server | None = None
        if kind != "file":
            assert servers is not None
            self.database = servers.database(kind, folder)
        self.place = ["outputs"] if self.database is None else ["--odbc", self.database.odbc]
        self.looked_in = ["--in", "outputs"] if self.database is None else self.place
        self.headers: list[Header] = []

    def store(self, name: str) -> Store:
        if self.database is None:
            return FileStore(self.folder / "outputs" / name)
        store = OdbcStore(self.database.odbc)
        store.prepare()
        return store

    def all(self) -> list[Entry]:
        return list(whole_store(self.folder / "outputs").list() if self.database is None else self.store("").list())

    def add(self, header: Header, data: bytes = b"\x80\x05N.") -> str:
        digest = Digest()
        parts = [header_bytes(header), data]
        for part in parts:
            digest.update(part)
        self.headers.append(header)
        return self.store(header.log_id).put(header, GZ, [GZ.encode(b"".join([*parts, digest.trailer()]), 1)])


def header(number: int, log: str, run: str, parent: Header | None = None, **values: Any) -> Header:
    fields: dict[str, Any] = {
        "name": f"mnist_validation_{number}",
        "prefix": "mnist",
        "workflow": "mnist",
        "workflow_class": "m:C",
        "run_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, run)),
        "log_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, log)),
        "codec": "gz",
        "epoch": number,
        "time": f"2026-11-{10 + number:02}T10:00:00.000000+00:00",
        "score": 10.0 - number,
        "metrics": {"validation": 10.0 - number, "train": {"loss": 0.5}},
        "parent": parent and parent.uuid,
        "identity": log,
    }
    return Header(**(fields | values))


@pytest.fixture(params=["file", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    servers = None if request.param == "file" else request.getfixturevalue("servers")
    return with_history(Made(request.param, servers, tmp_path))


def with_history(made: Made) -> Made:
    """Adds two runs of one workflow, one of which was resumed, and one of another workflow."""
    first = header(1, "a", "a1")
    second = header(2, "a", "a1", first, previous={"uuid": first.uuid, "state": 1000, "stored": 100})
    resumed = header(3, "a", "a2", second, overrides=["decision.max_epochs=9"])
    branch = header(4, "b", "b1", first, score=None)
    other = header(5, "c", "c1", workflow="wine", score=0.25, metrics={"train": 0.25}, complete=True)
    for one in (first, second, resumed, branch, other):
        made.add(one)
    return made


def listed(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [row["uuid"] for row in json.loads(done.stdout)]


@pytest.mark.parametrize("made", IN_ONE, indirect=True)
def test_looking(made: Made, shelf: Shelf) -> None:
    first, second, resumed, branch, other = made.headers
    newest_first = [one.uuid for one in reversed(made.headers)]
    assert listed(shelf("ls", *made.place, "--json")) == newest_first
    for options, expected in (
        (["--workflow", "wine"], [other]),
        (["--run", first.log_id[:6]], [resumed, second, first]),
        (["--run", resumed.run_id], [resumed]),
        (["--metric", "validation<8.5"], [branch, resumed, second]),
        (["--metric", "error<8", "--metric", "train.loss<=0.5"], [resumed]),
        (["--older", "2026-11-13T00:00:00+00:00", "--newer", "2026-11-12T00:00:00+00:00"], [second]),
        (["--limit", "2"], [other, branch]),
    ):
        assert listed(shelf("ls", *made.place, "--json", *options)) == [one.uuid for one in expected], options
    lines = shelf("ls", *made.place).stdout.splitlines()
    assert lines[0].startswith("id        time (UTC)           workflow  epoch  error  split")
    assert [line.split()[0] for line in lines[1:]] == [identity[:8] for identity in newest_first]

    rows = {row["uuid"]: row for row in json.loads(shelf("ls", *made.place, "--json").stdout)}
    assert rows[first.uuid]["state"] == (
        1000 if made.database is None else len(plain(made.store("").open(rows[first.uuid]["location"]))) - 57
    )
    assert {row["codec"] for row in rows.values()} == {"gz"}
    assert rows[resumed.uuid]["parent"] == second.uuid

    shown = json.loads(shelf("show", second.uuid[:8], *made.looked_in, "--json").stdout)
    assert shown["header"]["uuid"] == second.uuid
    assert json.loads(shelf("show", "latest", *made.looked_in, "--json").stdout)["uuid"] == other.uuid
    text = shelf("show", second.uuid[:8], *made.looked_in).stdout
    assert second.uuid in text
    assert "validation 8.0" in text
    assert shelf("show", "00000000", *made.looked_in, code=2).stderr.count("\n") == 1
    assert shelf("show", "best", *made.looked_in, code=2).stderr.count("\n") == 1  # two workflows

    best = json.loads(shelf("best", *made.place, "--json").stdout)
    assert {row["workflow"]: row["uuid"] for row in best} == {"mnist": resumed.uuid, "wine": other.uuid}
    location = shelf("best", *made.place, "--workflow", "mnist").stdout.strip()
    assert location == rows[resumed.uuid]["location"]
    shelf("best", *made.place, "--workflow", "none", code=2)

    nodes = {node["process"]: node for node in json.loads(shelf("tree", *made.place, "--json").stdout)}
    assert nodes[resumed.run_id]["from_snapshot"] == second.uuid
    assert not nodes[resumed.run_id]["branch"]
    assert nodes[branch.run_id]["from_process"] == first.run_id
    assert nodes[branch.run_id]["branch"]
    assert nodes[other.run_id]["from_process"] is None
    assert json.loads(shelf("diff", first.uuid[:8], second.uuid[:8], *made.looked_in, "--json", code=1).stdout)["place"] == {
        "epoch": [1, 2]
    }
    shelf("why", "latest", *made.looked_in)
    drawn = shelf("tree", *made.place).stdout
    assert [line[:3] for line in drawn.splitlines() if line.startswith(("├", "└"))] == ["├─ ", "└─ "]

    told = json.loads(shelf("report", *made.place, "--run", first.log_id[:8], "--to", ".", "--json").stdout)
    page = (made.folder / told["report"]).read_text()
    assert all(one.time[:19].replace("T", " ") in page for one in (first, second, resumed))
    assert branch.time[:19].replace("T", " ") not in page
    assert PASSWORD not in page
    shelf("report", *made.place, "--workflow", "none", code=2)


def test_verify_names_what_is_bad(made: Made, shelf: Shelf) -> None:
    shelf("verify", *made.place)
    if made.database is None:
        path = Path(json.loads(shelf("ls", *made.place, "--json").stdout)[1]["location"])
        damaged = made.folder / path
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 4
        damaged.write_bytes(data)
    else:
        name = made.headers[3].name.replace("mnist_", "mnist.", 1)
        execute(made.database, f"UPDATE veles SET data = {_zeros(made.database.kind)} WHERE name LIKE '{name}%'")
    rows = json.loads(shelf("verify", *made.place, "--json", code=1).stdout)
    assert len(rows) == 5
    assert sum(row["error"] is None for row in rows) == 4
    assert "1 of them bad" in shelf("verify", *made.place, code=1).stdout
    assert "BAD" in shelf("verify", *made.place, code=1).stdout


@pytest.mark.parametrize("left", [0.3, 0.7, 0.99])
def test_a_file_that_is_cut_is_named_and_said_to_be(left: float, tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    whole, path = (Path(row["location"]) for row in json.loads(shelf("ls", "--json").stdout)[:2])
    os.truncate(tmp_path / path, int((tmp_path / path).stat().st_size * left))
    for command in (["show", path], ["why", path], ["diff", path, whole], ["diff", whole, path]):
        (line,) = shelf(*command, code=2).stderr.splitlines()
        assert str(path) in line
        assert "truncated" in line


def test_a_damaged_copy_is_no_copy(tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    shelf("cp", "outputs", "--to", "backup")
    assert shelf("cp", "outputs", "--to", "backup", "--verify").stdout.count("is there already") == 5
    (copy, *_) = (Path(row["location"]) for row in json.loads(shelf("ls", "backup", "--json").stdout))
    os.truncate(tmp_path / copy, (tmp_path / copy).stat().st_size - 3)
    (line,) = shelf("cp", "outputs", "--to", "backup", "--verify", code=2).stderr.splitlines()
    assert str(copy) in line
    assert "truncated" in line
    (tmp_path / copy).unlink()
    shelf("cp", "outputs", "--to", "backup", "--verify")
    shelf("verify", "backup")
    broken = next((tmp_path / "outputs").rglob("mnist_validation*.pickle.gz"))
    broken.write_bytes(b"x")
    assert f"{broken.relative_to(tmp_path)} is passed over" in shelf("cp", "outputs", "--to", "other", code=1).stderr


@pytest.mark.parametrize("command", [["ls"], ["prune", "--keep-last", "1", "--yes"], ["best"], ["tree"]])
@pytest.mark.parametrize("option", ["--run", "--workflow"])
def test_an_empty_filter_is_no_filter(option: str, command: list[str], tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    assert f"{option} is empty" in shelf(*command, option, "", code=2).stderr
    assert len(list((tmp_path / "outputs").rglob("*.5.pickle.gz"))) >= 5


def test_a_metric_that_no_snapshot_has_is_told(tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    told = "No snapshot has a metric 'vali'; did you mean 'validation'? known: error, train, train.loss, validation"
    assert told in shelf("ls", "--metric", "vali<9").stderr
    assert told in shelf("best", "--metric", "vali<9", code=2).stderr
    assert "'validation<nan' is not a condition" in shelf("ls", "--metric", "validation<nan", code=2).stderr
    assert "There is no such snapshot in ." in shelf("ls", "--metric", "validation<0", "--metric", "train.loss<1").stderr


def _zeros(kind: str) -> str:
    return {"postgresql": "'\\x1f8b0000'::bytea"}.get(kind, "x'1f8b0000'")


def test_signatures(tmp_path: Path, shelf: Shelf) -> None:
    key = tmp_path / "key"
    key.write_text("00112233445566778899aabbccddeeff1f2e3d4c5b6a79880123456789abcdef")
    key.chmod(0o600)
    for name, signed in (("with", str(key)), ("without", None)):
        _, _, snapshotter = stored(b"", FileStore(tmp_path / name), blocking=True)
        snapshotter.configure(store=FileStore(tmp_path / name), key=signed)
        snapshotter.export()
    shelf("verify")
    shelf("verify", "with", "--key", key)
    assert "not signed" in shelf("verify", "--key", key, code=1).stdout
    shelf("show", "latest", "--in", "without", "--key", key, code=2)


def test_the_spool_is_listed_verified_and_delivered(tmp_path: Path, servers: Servers, shelf: Shelf) -> None:
    database = servers.database("sqlite", tmp_path)
    away = OdbcStore("DRIVER={SQLite3};Database=/nonexistent/x.db")
    spool = SpoolStore(away, tmp_path / "elsewhere")
    one = header(1, "a", "a1")
    digest = Digest()
    digest.update(begin := header_bytes(one) + b"\x80\x05N.")
    waiting = Path(spool.put(one, GZ, [GZ.encode(begin + digest.trailer(), 1)]))
    inbox = Path(SpoolStore(OdbcStore(database.odbc), tmp_path / "spool")._spool.directory)
    inbox.mkdir(parents=True)
    shutil.move(waiting, inbox)
    place = ["--odbc", database.odbc, "--spool", "spool"]
    assert listed(shelf("ls", *place, "--json")) == [one.uuid]
    shelf("verify", *place)
    told = json.loads(shelf("deliver", *place, "--json").stdout)
    assert list(told["delivered"]) == [one.uuid]
    assert told["waiting"] == []
    assert seen_by_client(database, "SELECT workflow FROM veles") == [["mnist"]]
    assert not list(inbox.glob("*.pickle*"))
    (inbox / "bad.5.pickle.gz").write_bytes(b"\x1f\x8bnothing")
    assert "still waiting" in shelf("deliver", *place, code=1).stdout
    assert "bad.5.pickle.gz" in shelf("verify", *place, code=1).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_that_ddl_prints_can_be_used(kind: str, servers: Servers, tmp_path: Path, shelf: Shelf) -> None:
    database = servers.database(kind, tmp_path)
    statements = json.loads(shelf("ddl", "--odbc", database.odbc, "--table", "runs", "--json").stdout)
    systems = {"sqlite": "SQLite", "mariadb": "mariadb", "postgresql": "PostgreSQL"}
    assert json.loads(shelf("ddl", "--system", systems[kind], "--table", "runs", "--json").stdout) == statements
    execute(database, *statements)
    OdbcStore(database.odbc, "runs", create_table=False).prepare()


def test_wrong_usage_is_one_line(tmp_path: Path, shelf: Shelf) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "text").write_text("hello")
    for arguments in (
        ["ls", "nowhere"],
        ["ls", ""],
        ["prune", "", "--keep-last", "1", "--yes"],
        ["cp", "best", "--to", ""],
        ["ls", "--metric", "validation"],
        ["ls", "--newer", "yesterday"],
        ["ls", "ftp://somewhere/x"],
        ["ls", "outputs", "--odbc", "DSN=x"],
        ["ls", "--odbc", "DRIVER={SQLite3};Database=x.db", "--table", "a b"],
        ["show", "nothing"],
        ["show", "text"],
        ["show", "latest"],
        ["ddl"],
        ["ls", "--table", "x"],
        ["cp", "best", "--to", "backup", "--to-table", "x"],
        ["show", "x" * 5000],
        ["deliver"],
        ["deliver", "outputs"],
        ["ddl", "--system", "Orakel"],
        ["cp", "best", "--to", "backup", "--compression", "lzo"],
        ["cp", "best", "--to", "backup", "--compression", "gz", "--level", "99"],
        ["cp", "best", "--to", "backup", "--level", "5"],
        ["cp", "best", "--to", "backup", "--mode", "9"],
        ["cp", "best", "--to-odbc", "DSN=x", "--mode", "0600"],
        ["cp", "best", "--to-odbc", "DSN=x", "--to-table", "a b"],
    ):
        done = shelf(*arguments, code=2)
        assert done.stderr.count("\n") == 1, arguments
        assert "snapshotter." not in done.stderr, "a key that nobody has typed"
    assert "BAD" in shelf("verify", "text", code=1).stdout
    assert shelf("ls", "outputs", "--json").stdout.strip() == "[]"
    shelf("ls", "--odbc", "DRIVER={SQLite3};Database=new.db")
    assert not (tmp_path / "new.db").exists(), "who looks makes nothing"
    done = shelf("ls", "--nonsense", code=2)
    assert "No such option" in done.stderr


def test_names_from_snapshots_cannot_reach_the_terminal(tmp_path: Path, shelf: Shelf) -> None:
    made = Made("file", None, tmp_path)
    evil = "\x1b[2Jwine\u202e\n\x07"
    code = KeptCode({"a.py": f"{evil}\ud800"}, {"a": "a.py"}, ("a.yaml", evil), evil, evil, (evil,))
    fields = {"workflow": evil, "overrides": [evil], "metrics": {evil: 1.0}, "config": {evil: {evil: evil}}}
    made.add(one := replace(header(1, "a", "a1"), kept_code=code.digest, **fields))
    made.store(one.log_id).keep_code(code.digest, code.packed())
    shown = [["ls"], ["show", "latest"], ["tree"], ["best"], ["verify"], ["why", "latest"], ["code", "latest"]]
    for arguments in (*shown, ["code", "latest", "--diff"], ["code", "latest", "--extract", "out"]):
        text = shelf(*arguments).stdout
        assert not {"\x1b", "\u202e", "\x07"} & {*text}, arguments
        assert all(character.isprintable() for character in text.replace("\n", ""))


def test_a_link_is_the_snapshot_that_it_leads_to(tmp_path: Path, shelf: Shelf) -> None:
    made = Made("file", None, tmp_path)
    made.add(one := header(1, "a", "a1"))
    (link,) = tmp_path.rglob("mnist_current*")
    place = link.relative_to(tmp_path)
    assert listed(shelf("ls", place, "--json")) == [one.uuid]
    assert [row["uuid"] for row in json.loads(shelf("verify", place, "--json").stdout)] == [one.uuid]
    assert json.loads(shelf("show", place, "--json").stdout)["uuid"] == one.uuid
    shelf("diff", place, one.uuid[:8])
    shelf("tag", place, "good")
    assert listed(shelf("cp", place, "--to", "copy", "--json")) == [one.uuid]
    assert "--force" in shelf("rm", place, code=2).stderr
    assert listed(shelf("ls", "outputs", "--json")) == [one.uuid]
    os.mkfifo(tmp_path / "pipe")
    for command in ("ls", "verify", "show"):
        assert shelf(command, "pipe", code=2).stderr.count("\n") == 1


def test_numbers_that_are_none_are_never_the_best(tmp_path: Path, shelf: Shelf) -> None:
    made = Made("file", None, tmp_path)
    for number, value in enumerate((math.nan, -math.inf, -(10**400), 0.5)):
        made.add(replace(header(number + 1, f"{number}", f"{number}"), score=value, metrics={"a": value, "b": [value]}))
    assert [row["error"] for row in json.loads(shelf("best", "--json").stdout)] == [0.5]
    assert len(shelf("ls", "--metric", "a<1").stdout.splitlines()) == 2  # a heading, and the one that has a number
    for arguments in (["ls"], ["tree"], ["show", "latest"], ["verify"]):
        shelf(*arguments)
        json.loads(shelf(*arguments, "--json").stdout, parse_constant=pytest.fail)  # such as NaN, which is not JSON


def test_errors_of_different_losses_are_not_compared(tmp_path: Path, shelf: Shelf) -> None:
    made = Made("file", None, tmp_path)
    kinds = [
        {"loss_function": "mse"},
        {"loss_function": "softmax", "decision": {"monitor": None}},
        {"loss_function": "softmax", "decision": {"monitor": "f1"}},
    ]
    for number, (score, config) in enumerate(zip([0.1, 3.0, -0.9], kinds, strict=True), 1):
        made.add(header(number, "v", "v", score=score, metrics={"validation": abs(score)}, config=config))
    done = shelf("best", "--json")
    assert json.loads(done.stdout)[0]["error"] == -0.9  # what the newest is measured by
    assert "by one loss and metric" in done.stderr
    assert "leaves out 2 snapshots" in done.stderr


def test_errors_of_different_splits_are_not_compared(tmp_path: Path, shelf: Shelf, veles_run: Run) -> None:
    made = Made("file", None, tmp_path)
    trained = [header(number, "t", f"t{number}", score=0.1 * number, metrics={"train": 0.1 * number}) for number in (1, 2)]
    for one in trained:
        made.add(one)
    assert listed(shelf("best", "--json")) == [trained[0].uuid]
    assert shelf("best").stderr == ""

    validated = [header(number, "v", "v", score=5.0, metrics={"train": 0.1, "validation": 5.0}) for number in (4, 3)]
    own = header(5, "o", "o", score=0.01, metrics={"loss": 0.01})
    unscored = header(6, "u", "u", score=None, workflow="wine")
    locations = [made.add(one) for one in (*validated, own, unscored)]
    done = shelf("best", "--json")
    assert listed(done) == [validated[1].uuid]  # the older of two with equal errors
    assert done.stderr.count("\n") == 1
    assert "leaves out 3 snapshots" in done.stderr
    assert json.loads(shelf("show", "best", "--json").stdout)["uuid"] == validated[1].uuid
    assert {row["uuid"]: row["split"] for row in json.loads(shelf("ls", "--json").stdout)} == {
        **{one.uuid: "train" for one in trained},
        **{one.uuid: "validation" for one in validated},
        own.uuid: None,
        unscored.uuid: None,
    }
    assert "left out" not in shelf("best", "--metric", "validation<9").stderr
    for conf in ("mnist", "mnist_small"):  # the other one has no snapshot
        done = veles_run(f"conf={conf}", "snapshot=best", code=2)
        assert ("leaves out 3 snapshots" in done.stdout) == (str(Path(locations[1]).name) in done.stderr) == (conf == "mnist")


def test_every_command_says_what_it_does(shelf: Shelf) -> None:
    commands = [line.split()[0] for line in shelf("--help").stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert {"ls", "show", "best", "tree", "verify", "deliver", "ddl"} <= {*commands}
    for command in commands:
        text = shelf(command, "--help").stdout
        assert f"veles-snapshots {command}" in text.partition("Options:")[0].partition("\n\n")[2], f"{command} has no example"


def plain(blocks: Iterator[bytes]) -> bytes:
    """Returns the plain stream of a snapshot."""
    data = b"".join(blocks)
    return b"".join(codecs.decode(codecs.detect(data), [data]))


@pytest.mark.parametrize("made", IN_ONE, indirect=True)
def test_copies_are_the_same_byte_for_byte(made: Made, shelf: Shelf, servers: Servers) -> None:
    first, second, resumed, branch, other = made.headers
    shelf("tag", resumed.uuid[:8], "good", *made.looked_in)
    shelf("note", resumed.uuid[:8], "with a note", *made.looked_in)
    source = {entry.header.uuid: plain(made.store("").open(entry.location)) for entry in made.all()}
    shelf("cp", *[one.uuid[:8] for one in made.headers], *made.looked_in, "--to", "backup", "--compression", "xz")
    backup = FileStore(made.folder / "backup")
    copies = {entry.header.uuid: entry for entry in backup.list()}
    assert {uuid: plain(backup.open(entry.location)) for uuid, entry in copies.items()} == source
    assert {Path(entry.location).read_bytes()[:6] for entry in copies.values()} == {b"\xfd7zXZ\x00"}
    (marked,) = backup.marks().values()
    assert (marked.uuid, marked.tags, marked.note) == (resumed.uuid, ("good",), "with a note")
    assert "there already" in shelf("cp", "latest", *made.looked_in, "--to", "backup").stdout
    assert len(list(backup.list())) == 5

    back = servers.database("sqlite", made.folder / "backup")
    for _ in range(2):
        shelf("cp", "backup", "--to-odbc", back.odbc, "--to-table", "copies")
    table = OdbcStore(back.odbc, "copies")
    assert {entry.header.uuid: plain(table.open(entry.location)) for entry in table.list()} == source
    assert table.marks().keys() == {resumed.uuid}
    shelf("cp", "tag:good", "--odbc", back.odbc, "--table", "copies", "--to", "again", "--verify")
    (again,) = FileStore(made.folder / "again").list()
    assert again.header == resumed
    for wrong in (["--compression", "rar"], ["--compression", "snappy", "--level", "3"], []):
        shelf("cp", "latest", *made.looked_in, *([] if not wrong else ["--to", "backup"]), *wrong, code=2)


def test_each_command_in_a_bucket(tmp_path: Path, bucket: Bucket, shelf: Shelf) -> None:
    made, there = with_history(Made("file", None, tmp_path)), ["--in", bucket.url]
    first, second, resumed, branch, other = made.headers
    data = {entry.header.uuid: Path(tmp_path, entry.location).read_bytes() for entry in made.all()}

    def kept() -> list[bytes]:
        return [body for key, body in bucket.objects().items() if ".pickle" in key and ".mark" not in key]

    shelf("cp", "outputs", "--to", bucket.url)
    assert sorted(kept()) == sorted(data.values())
    assert listed(shelf("ls", bucket.url, "--json")) == [one.uuid for one in reversed(made.headers)]
    assert json.loads(shelf("show", second.uuid[:8], *there, "--json").stdout)["stored"] == len(data[second.uuid])
    location = shelf("best", bucket.url, "--workflow", "wine").stdout.strip()
    assert json.loads(shelf("show", location, "--json").stdout)["uuid"] == other.uuid
    assert len(json.loads(shelf("tree", bucket.url, "--json").stdout)) == 4
    assert "5 snapshots, all good" in shelf("verify", bucket.url).stdout
    assert "epoch" in shelf("diff", first.uuid[:8], second.uuid[:8], *there, code=1).stdout
    shelf("why", "latest", *there)
    assert "no code" in shelf("code", "latest", *there, code=2).stderr
    shelf("tag", first.uuid[:8], "good", *there)
    shelf("note", "tag:good", "ä", *there)
    shelf("report", bucket.url, "--workflow", "mnist", "--run", first.log_id[:8])
    assert first.time[:10] in (tmp_path / "report.html").read_text()
    assert json.loads(shelf("deliver", bucket.url, "--json").stdout) == {"delivered": {}, "waiting": []}
    shelf("cp", "tag:good", *there, "--to", "again", "--compression", "xz")
    again = FileStore(tmp_path / "again")
    assert [(entry.header, plain(again.open(entry.location))) for entry in again.list()] == [
        (first, plain(iter([data[first.uuid]])))
    ]
    assert [mark.note for mark in again.marks().values()] == ["ä"]
    shelf("rm", first.uuid[:8], *there, code=2)
    shelf("rm", branch.uuid[:8], *there)
    assert len(json.loads(shelf("prune", bucket.url, "--older-than", "1d", "--yes", "--json").stdout)) == 0  # all are needed
    shelf("rm", *[one.uuid[:8] for one in (first, second, resumed, other)], *there, "--force")
    assert bucket.objects() == {}


def test_prune_keeps_what_is_needed(made: Made, shelf: Shelf) -> None:
    first, second, resumed, branch, other = made.headers
    extra = [header(number, "a", "a2", resumed, score=score) for number, score in ((6, 3.0), (7, 9.0), (8, 8.0))]
    for one in extra:
        made.add(one)
    rules = ["--keep-best", "1", "--keep-last", "1", "--json"]
    # Of the first: the second run began from it; of the second: the third process. The newest and the best are kept.
    assert listed(shelf("prune", *made.place, *rules)) == [resumed.uuid, extra[1].uuid]
    assert len(made.all()) == 8
    assert "--yes" in shelf("prune", *made.place, *rules[:-1]).stdout
    shelf("tag", extra[1].uuid[:8], "mine", *made.looked_in)
    assert listed(shelf("prune", *made.place, *rules)) == [resumed.uuid]
    assert listed(shelf("prune", *made.place, *rules, "--workflow", "wine")) == []
    assert listed(shelf("prune", *made.place, *rules, "--older-than", "2026-11-12")) == []
    deleted = json.loads(shelf("prune", *made.place, *rules, "--yes").stdout)
    assert len(deleted) == 1
    assert {entry.header.uuid for entry in made.all()} == {one.uuid for one in [*made.headers, *extra]} - {resumed.uuid}
    assert json.loads(shelf("prune", *made.place, *rules, "--yes").stdout) == []
    assert listed(shelf("prune", *made.place, "--older-than", "1d", "--json")) == [extra[0].uuid]
    shelf("prune", *made.place, code=2)
    shelf("prune", *made.place, "--keep-best", "0", "--yes", code=2)


def test_rm_leaves_what_is_needed_or_in_use(made: Made, shelf: Shelf) -> None:
    first, second, resumed, branch, other = made.headers
    assert "began" in shelf("rm", first.uuid[:8], *made.looked_in, code=2).stderr
    shelf("tag", branch.uuid[:8], "mine", *made.looked_in)
    assert "mine" in shelf("rm", other.uuid[:8], branch.uuid[:8], *made.looked_in, code=2).stderr
    assert len(made.all()) == 5
    with Claims() as claims:
        claims.take(made.store(other.log_id), other.log_id, other.identity)
        assert "another job" in shelf("rm", other.uuid[:8], *made.looked_in, code=2).stderr
        shelf("prune", *made.place, "--keep-last", "1", "--yes")
    assert len(made.all()) == 5
    shelf("rm", other.uuid[:8], *made.looked_in)
    shelf("rm", branch.uuid[:8], first.uuid[:8], *made.looked_in, "--force")
    assert {entry.header.uuid for entry in made.all()} == {second.uuid, resumed.uuid}
    assert made.store("").marks() == {}
    if made.database is not None:
        assert seen_by_client(made.database, "SELECT count(*) FROM veles_chunks WHERE number = -2") == [["0"]]
    else:
        assert sorted(path.name for path in made.folder.rglob(".*.mark")) == []
        assert [link for link in made.folder.rglob("*_current*") if not link.exists()] == []
    shelf("rm", other.uuid[:8], *made.looked_in, code=2)


def test_tags_and_notes(made: Made, shelf: Shelf) -> None:
    first, second, *_ = made.headers
    before = {entry.header.uuid: b"".join(made.store("").open(entry.location)) for entry in made.all()}
    shelf("tag", first.uuid[:8], "good", *made.looked_in)
    shelf("tag", first.uuid[:8], "v1.0", *made.looked_in)
    written = json.loads(shelf("note", first.uuid[:8], "ä\x1b[2J\n'quoted'", *made.looked_in, "--json").stdout)
    assert written == {"uuid": first.uuid, "tags": ["good", "v1.0"], "note": "ä\x1b[2J\n'quoted'"}
    assert json.loads(shelf("show", "tag:good", *made.looked_in, "--json").stdout)["uuid"] == first.uuid
    assert shelf("note", "tag:good", *made.looked_in).stdout.strip() == r"ä\x1b[2J\n'quoted'"
    assert "good" in shelf("tag", second.uuid[:8], "good", *made.looked_in, code=2).stderr
    shelf("tag", second.uuid[:8], "good", "--move", *made.looked_in)
    rows = {row["uuid"]: row for row in json.loads(shelf("ls", *made.place, "--json").stdout)}
    assert (rows[first.uuid]["tags"], rows[second.uuid]["tags"]) == (["v1.0"], ["good"])
    assert "v1.0" in shelf("ls", *made.place).stdout
    for command in ("ls", "best"):
        (row,) = json.loads(shelf(command, *made.place, "--tag", "v1.0", "--json").stdout)
        assert row["uuid"] == first.uuid
    assert json.loads(shelf("ls", *made.place, "--tag", "none", "--json").stdout) == []
    shelf("tag", second.uuid[:8], "good", "--delete", *made.looked_in)
    shelf("tag", second.uuid[:8], "good", "--delete", *made.looked_in, code=2)
    for wrong in ("", "a b", "../x", "x" * 65):
        shelf("tag", second.uuid[:8], wrong, *made.looked_in, code=2)
    shelf("show", "tag:none", *made.looked_in, code=2)
    assert {entry.header.uuid: b"".join(made.store("").open(entry.location)) for entry in made.all()} == before


def test_tags_that_are_given_at_once_are_all_kept(made: Made, shelf: Shelf) -> None:
    tags = [f"tag{number}" for number in range(6)]
    with ExitStack() as stack:
        commands = [["tag", made.headers[0].uuid[:8], tag, *made.looked_in] for tag in tags]
        started = [
            stack.enter_context(forked.Started(one, cwd=made.folder, environment=os.environ, command="veles-snapshots"))
            for one in commands
        ]
        assert [one.end(60).returncode for one in started] == [0] * len(tags)
    shown = json.loads(shelf("show", made.headers[0].uuid[:8], *made.looked_in, "--json").stdout)
    assert sorted(shown["tags"]) == tags
    assert list(made.folder.rglob("*.lock")) == []


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    made = Made("file", None, tmp_path)
    made.add(header(1, "a", "a1"))
    for arguments in ("ls", "ls --json", "tree", "best", "show latest", "verify"):
        with forked.Started(arguments.split(), cwd=tmp_path, command="veles-snapshots", stdout="/dev/full") as started:
            done = started.end(60)
        assert (done.returncode, done.stderr) == (1, "veles-snapshots: the output cannot be written: No space left on device\n")


def test_a_mark_is_that_of_its_snapshot_alone(tmp_path: Path, shelf: Shelf) -> None:
    store = FileStore(tmp_path / "outputs", 0o600)
    made = Made("file", None, tmp_path)
    one = header(1, "a", "a1")
    location = made.add(one)
    shelf("tag", one.uuid[:8], "good")
    mark = next(tmp_path.rglob(".*.mark"))
    assert json.loads(mark.read_text()) == {"uuid": one.uuid, "tags": ["good"], "note": ""}
    Path(location).unlink()  # by somebody else, and another one gets its name
    made.add(replace(header(1, "a", "a1"), uuid=str(uuid.uuid4())))
    assert json.loads(shelf("ls", "--json").stdout)[0]["tags"] == []
    for text in ("", "{", "[]", '{"uuid": 1, "tags": 2, "note": 3}', '{"uuid": "x", "tags": [1, "\\u001b"], "note": "y"}'):
        mark.write_text(text)
        shelf("ls")
    mark.unlink()
    mark.symlink_to("/etc/passwd")
    shelf("ls")
    assert store.marks() == {}


def test_killed_commands_lose_nothing(rng: random.Random) -> None:
    counts, wrong = kill_shelf.run(rng, 3)
    assert wrong == []
    assert min(counts[f"killed {kind}"] for kind in kill_shelf.KINDS) >= 3


def test_runs_are_continued_by_name(tmp_path: Path, veles_run: Run, shelf: Shelf) -> None:
    settings = ["conf=mnist_small", "loader.train_size=200", "loader.validation_size=50", "decision.max_epochs=4", "seed=3"]
    folder = ["hydra.run.dir=" + str(tmp_path / "elsewhere/${run_name:}/${now:%Y}/${run_time:}")]
    veles_run(*settings, *folder)
    best = json.loads(shelf("best", "elsewhere", "--json").stdout)[0]
    shelf("tag", best["uuid"][:8], "good", "--in", "elsewhere")
    for name in ("best", "tag:good"):
        done = veles_run(*settings, *folder, f"snapshot={name}", "mode=evaluate")
        assert best["location"].rpartition("/")[2] in done.stdout
    assert "Resuming" in veles_run(*settings, *folder, "snapshot=latest", "decision.max_epochs=5").stdout
    assert "Resuming" in veles_run(*settings, *folder, "snapshot=best", "decision.max_epochs=6").stdout
    for name in ("best", "tag:good"):
        assert veles_run("conf=mnist_small", f"snapshot={name}", code=2).stderr.count("\n") == 1
    assert veles_run(*settings, *folder, "snapshot=tag:none", code=2).stderr.count("\n") == 1


def test_diff_and_why(tmp_path: Path, veles_run: Run, shelf: Shelf) -> None:
    settings = ["conf=mnist_small", "loader.train_size=200", "loader.validation_size=50", "seed=3"]
    veles_run(*settings, "decision.max_epochs=2", "snapshotter.directory=one")
    for more in ("decision.max_epochs=1", "snapshot=latest"):  # a run that went on is as one that did not
        veles_run(*settings, "decision.max_epochs=2", more, "snapshotter.directory=two")
    veles_run(*settings, "decision.max_epochs=2", "layers.fc1.learning_rate=0.3", "snapshotter.directory=three")
    names = {folder: next(path for path in tmp_path.glob(f"{folder}/*_current*")) for folder in ("one", "two", "three")}
    same = json.loads(shelf("diff", names["one"], names["two"], "--json", code=1).stdout)  # the folder is in the configuration
    assert all(array["equal"] for array in same["arrays"])
    assert {*same["config"]} == {"snapshotter.directory"}
    shelf("diff", names["one"], names["one"])
    found = json.loads(shelf("diff", names["one"], names["three"], "--json", code=1).stdout)
    assert found["config"]["layers.fc1.learning_rate"] == [0.1, 0.3]
    weights = next(array for array in found["arrays"] if array["path"] == "fc1.weights")
    ours, theirs = (restore(names[one]).workflow["fc1"].weights.double() for one in ("one", "three"))
    assert weights["largest"] == pytest.approx(float((ours - theirs).abs().max()))
    assert weights["relative"] == pytest.approx(float((ours - theirs).norm() / ours.norm()))
    assert "fc1.weights" in shelf("diff", names["one"], names["three"], code=1).stdout
    told = json.loads(shelf("why", names["one"], "--in", "one", "--json").stdout)
    assert told["refused"] == []
    assert "complete" in told["over"][0]
    _, _, snapshotter = stored(b"", FileStore(tmp_path / "own"), blocking=True)
    snapshotter.export()
    refused = shelf("why", "latest", "--in", "own", code=1).stdout
    assert "restore.trusted=[tests]" in refused
    Made("file", None, tmp_path).add(header(1, "a", "a1"), b"\x80\x05\x8c\x02os\x8c\x06system\x93.")
    assert "os.system" in shelf("why", "latest", "--in", "outputs", code=1).stdout


def test_differences_that_are_no_numbers_are_json(tmp_path: Path, shelf: Shelf) -> None:
    for name, value in (("a", 0.0), ("b", math.nan), ("c", 1.0)):
        _, _, snapshotter = stored(numpy.array([value]), FileStore(tmp_path / name), blocking=True)
        snapshotter.export()
    for other, told in (("b", {"largest": "nan", "mean": "nan"}), ("c", {"largest": 1.0, "relative": "inf"})):
        names = [next((tmp_path / name).glob("*_current*")) for name in ("a", other)]
        found = json.loads(shelf("diff", *names, "--json", code=1).stdout, parse_constant=pytest.fail)
        (array,) = (one for one in found["arrays"] if not one["equal"])
        assert told.items() <= array.items()
        assert str(next(iter(told.values()))).removesuffix(".0") in shelf("diff", *names, code=1).stdout


def test_headers_that_are_meant_to_hurt_are_one_line(tmp_path: Path, shelf: Shelf) -> None:
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {"a": deep}
    for number, values in enumerate(
        ({"config": deep}, {"metrics": {"validation": "x", "train": {"loss": [1]}}}, {"previous": {"uuid": 3}})
    ):
        Made("file", None, tmp_path / str(number)).add(header(1, "a", "a1", **values))
        for arguments in (
            ["ls", "--metric", "validation<3"],
            ["show", "latest"],
            ["show", "latest", "--json"],
            ["tree"],
            ["why", "latest"],
        ):
            texts = [str(argument) for argument in arguments]
            done = forked.run(texts, cwd=tmp_path / str(number), environment=os.environ, timeout=60, command="veles-snapshots")
            assert done.returncode in (0, 1, 2), arguments
            assert "Traceback" not in done.stderr, arguments


def test_output_of_any_encoding(tmp_path: Path) -> None:
    made = Made("file", None, tmp_path)
    made.add(first := header(1, "a", "a1", workflow="поиск"))
    made.add(header(2, "a", "a2", first, workflow="поиск"))
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = forked.run(["tree"], cwd=tmp_path, environment=environment, timeout=60, command="veles-snapshots")
    assert "\\u043f" in done.stdout


def test_what_is_there_already_is_told_so_and_a_reader_that_is_gone_is_nothing_bad(tmp_path: Path) -> None:
    _, _, snapshotter = stored(b"", FileStore(tmp_path / "own"), blocking=True)
    snapshotter.export()
    command = [sys.executable, "-m", "runner.cli.shelf.app"]
    told = [
        subprocess.run(
            [*command, "cp", str(tmp_path / "own"), "--to", "copy"], cwd=tmp_path, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert "->" in told[0]
    assert [line.count("there already") for line in told[1].splitlines()] == [1]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as gone:
        assert subprocess.run([*command, "ls", "own"], cwd=tmp_path, stdout=gone, check=False).returncode == 141
