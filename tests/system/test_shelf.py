"""`veles-snapshots` as a person and a script look with it, on files and on a database."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from runner.snapshots.kept_code import KeptCode
from runner.snapshots.restoring.restore import restore
from runner.snapshots.stores.file import FileStore
from tests import forked
from tests.conftest import Run
from tests.servers import PASSWORD
from tests.shelves import IN_ONE, Made, Shelf, header, listed, plain, with_history
from tests.workflows import stored


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


def test_both_commands_say_the_same_version(shelf: Shelf, veles_run: Run) -> None:
    assert shelf("--version").stdout.split() == ["veles-snapshots", veles_run("--version").stdout.split()[1]]


def test_every_command_says_what_it_does(shelf: Shelf) -> None:
    commands = [line.split()[0] for line in shelf("--help").stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert {"ls", "show", "best", "tree", "verify", "deliver", "ddl"} <= {*commands}
    for command in commands:
        text = shelf(command, "--help").stdout
        assert f"veles-snapshots {command}" in text.partition("Options:")[0].partition("\n\n")[2], f"{command} has no example"


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    made = Made("file", None, tmp_path)
    made.add(header(1, "a", "a1"))
    for arguments in ("ls", "ls --json", "tree", "best", "show latest", "verify"):
        with forked.Started(arguments.split(), cwd=tmp_path, command="veles-snapshots", stdout="/dev/full") as started:
            done = started.end(60)
        assert (done.returncode, done.stderr) == (1, "veles-snapshots: the output cannot be written: No space left on device\n")


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
