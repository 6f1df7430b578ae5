"""`veles-snapshots` deletes and marks, and nothing that is needed is lost."""

import json
import os
import random
import re
import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runner.snapshots.claims import Claims
from runner.snapshots.stores.file import FileStore
from tests import forked
from tests.servers import seen_by_client
from tests.shelves import Made, Shelf, header, listed
from tests.stress import kill_shelf


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


def test_prune_keeps_a_whole_snapshot_where_one_that_a_rule_keeps_is_damaged(made: Made, shelf: Shelf) -> None:
    run = [header(number, "d", "d1", score=10.0 - number) for number in range(6, 10)]
    for one in run:
        made.add(one, damaged=one in run[2:])
    done = shelf("prune", *made.place, "--keep-last", "1", "--run", run[0].log_id, "--yes", code=1)
    told = re.findall(r"(\S+) is left, and counted as none that is kept: ", done.stderr)
    damaged = [entry.location for entry in made.all() if entry.header.uuid in {one.uuid for one in run[2:]}]
    assert sorted(text.rpartition("/")[2] for text in told) == sorted(text.rpartition("/")[2] for text in damaged)
    left = {entry.header.uuid for entry in made.all() if entry.header.log_id == run[0].log_id}
    assert left == {one.uuid for one in run[1:]}


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
