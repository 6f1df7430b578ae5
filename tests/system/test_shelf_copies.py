"""`veles-snapshots` verifies, copies and delivers, on files, in buckets and on each database."""

import json
import os
import shutil
from pathlib import Path

import pytest

from runner.snapshots.format.layout import Digest, header_bytes
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.spool import SpoolStore
from tests.buckets import Bucket
from tests.servers import KINDS, Servers, execute, seen_by_client
from tests.shelves import GZ, IN_ONE, Made, Shelf, header, listed, plain, with_history
from tests.workflows import stored


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


def test_a_tag_is_on_one_snapshot_after_copies_too(tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    ids = [row["uuid"] for row in json.loads(shelf("ls", "--json").stdout)[:2]]
    for folder, uuid in zip("ab", ids, strict=True):
        shelf("cp", uuid, "--to", folder)
        for tag in ("base", folder):
            shelf("tag", uuid, tag, "--in", folder)
        shelf("note", uuid, "why", "--in", folder)
    shelf("cp", "a", "--to", "both")
    (line,) = shelf("cp", "b", "--to", "both").stderr.splitlines()
    assert "the tag base is on" in line
    rows = {row["uuid"]: row for row in json.loads(shelf("ls", "both", "--json").stdout)}
    assert [(rows[uuid]["tags"], rows[uuid]["note"]) for uuid in ids] == [(["base", "a"], "why"), (["b"], "why")]
    shelf("tag", ids[1], "base", "--move", "--in", "both")
    shelf("cp", "a", "b", "--to", "both")
    assert json.loads(shelf("show", "tag:base", "--in", "both", "--json").stdout)["uuid"] == ids[1]


def test_the_link_leads_to_the_newest_in_whatever_order_they_come_and_go(tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    found = json.loads(shelf("ls", "--workflow", "mnist", "--json").stdout)
    newest, older = [row["uuid"] for row in found[:2]]

    def linked() -> str:
        (link,) = (tmp_path / "t").glob("*_current.*")
        return json.loads(shelf("show", link, "--json").stdout)["uuid"]

    shelf("cp", newest, older, "--to", "t")
    assert linked() == newest
    shelf("rm", newest, "--in", "t", "--force")
    assert linked() == older
    shelf("cp", newest, "--to", "t")
    shelf("rm", older, "--in", "t", "--force")
    shelf("cp", older, "--to", "t")
    assert linked() == newest


def test_tags_and_a_note_that_came_later_are_copied_too(tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    uuid = json.loads(shelf("ls", "--json").stdout)[0]["uuid"]
    shelf("tag", uuid, "one")
    shelf("cp", uuid, "--to", "t")
    shelf("tag", uuid, "two")
    shelf("note", uuid, "later")
    shelf("cp", uuid, "--to", "t")
    (row,) = json.loads(shelf("ls", "t", "--json").stdout)
    assert (row["tags"], row["note"]) == (["one", "two"], "later")
    shelf("note", uuid, "other", "--in", "t")
    shelf("cp", uuid, "--to", "t")
    assert json.loads(shelf("ls", "t", "--json").stdout)[0]["note"] == "other"


def test_a_damaged_copy_is_no_copy(tmp_path: Path, shelf: Shelf) -> None:
    with_history(Made("file", None, tmp_path))
    shelf("cp", "outputs", "--to", "backup")
    assert shelf("cp", "outputs", "--to", "backup", "--verify").stdout.count("is there already") == 5
    (copy, *_) = (Path(row["location"]) for row in json.loads(shelf("ls", "backup", "--json").stdout))
    os.truncate(tmp_path / copy, (tmp_path / copy).stat().st_size - 3)
    (line,) = shelf("cp", "outputs", "--to", "backup", "--verify", code=1).stderr.splitlines()
    assert str(copy) in line
    assert "truncated" in line
    (tmp_path / copy).unlink()
    shelf("cp", "outputs", "--to", "backup", "--verify")
    shelf("verify", "backup")
    broken = next((tmp_path / "outputs").rglob("mnist_validation*.pickle.gz"))
    broken.write_bytes(b"x")
    assert f"{broken.relative_to(tmp_path)} is passed over" in shelf("cp", "outputs", "--to", "other", code=1).stderr


@pytest.mark.parametrize("settings", [["--verify"], ["--compression", "xz"]])
def test_what_is_damaged_is_named_and_the_rest_is_copied(settings: list[str], tmp_path: Path, shelf: Shelf) -> None:
    made = with_history(Made("file", None, tmp_path))
    bad = header(0, "d", "d1")  # the oldest
    path = made.add(bad, damaged=True)
    done = shelf("cp", "outputs", "--to", "backup", *settings, "--json", code=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{Path(path).relative_to(tmp_path)} is passed over: it is damaged")
    assert {row["uuid"] for row in json.loads(done.stdout)} == {one.uuid for one in made.headers} - {bad.uuid}
    assert len(listed(shelf("ls", "backup", "--json"))) == 5
    shelf("verify", "backup")


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
