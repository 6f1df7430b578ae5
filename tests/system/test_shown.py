"""What a snapshot says of itself is shown, and never sent to the terminal, into the log, or into the name of a file."""

import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from runner.snapshots.codecs import find
from runner.snapshots.format.layout import TRAILER_SIZE, header_bytes, header_size, parse_header
from runner.snapshots.format.seal import Seal
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.stores.file import FileStore
from tests.conftest import VELES_RUN, Run

HOSTILE = "\x1b[2J\x1b]52;c;aGk=\x07\nINFO forged\r\x9b31m\u202egnp\u2066\u200b\ufeff\x7f"
SENT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
BASE = ("seed=1", "decision.max_epochs=1", "loader.train_size=600", "loader.validation_size=60", "plotters=false")


def sent(text: str) -> set[str]:
    """Returns the characters that a terminal would obey."""
    return {character for character in text if unicodedata.category(character) in SENT and character != "\n"}


@pytest.fixture
def hostile(veles_run: Run, tmp_path: Path) -> Path:
    """A snapshot whose header and workflow have names full of control characters."""
    veles_run("conf=mnist_small", *BASE, "snapshotter.directory=honest", "snapshotter.compression=none")
    (path,) = (path for path in (tmp_path / "honest").iterdir() if not path.is_symlink())
    data = path.read_bytes()
    size = header_size(data)
    header = parse_header(data[:size])
    config = header.config | {"workflow": {"name": HOSTILE}, "snapshotter": header.config["snapshotter"] | {"directory": None}}
    changed = replace(
        header,
        **dict.fromkeys(("name", "prefix", "workflow", "workflow_class", "conf", "run_id", "log_id", "codec"), HOSTILE),
        code={f"mod.{HOSTILE}": "0" * 64},
        versions={HOSTILE: HOSTILE},
        overrides=[f"a={HOSTILE}"],
        metrics={HOSTILE: {HOSTILE: 1.0}},
        config=config,
    )
    # The name of the workflow and of a unit, in the pickle: as long as those that it replaces.
    pickle = data[size:-TRAILER_SIZE]
    for honest in (b"mnist_small", b"plot_errors", b"validation_"):
        escape = (b"\x1b[2J\x07\n\r\x7f\x1b[1" + bytes(len(honest)))[: len(honest)].replace(b"\0", b"\x1b")
        pickle = pickle.replace(b"\x8c" + bytes([len(honest)]) + honest, b"\x8c" + bytes([len(honest)]) + escape, 1)
    seal = Seal(None)
    seal.update(body := header_bytes(changed) + pickle)
    target = tmp_path / "hostile" / "x.5.pickle"
    target.parent.mkdir()
    target.write_bytes(body + seal.end())
    return target


def test_nothing_of_a_snapshot_is_sent(hostile: Path, veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{HOSTILE}.5.pickle").write_bytes(hostile.read_bytes())
    more = (f"snapshot={hostile}", "decision.max_epochs=2")
    commands = [
        [*more],
        [*more, "restore.trust=full", "snapshotter.directory=again"],
        [f"snapshot={hostile}", "mode=evaluate"],
        [f"snapshot={hostile}", "graph=graph.dot"],
        [f"snapshot={hostile}", "conf=wine"],
        ["snapshot=latest", f"snapshotter.directory={tmp_path}", "mode=evaluate", f"workflow.name='{HOSTILE}'"],
        [f"snapshot={hostile}{HOSTILE}"],
        [f"conf={HOSTILE}"],
        [f"no_such_key={HOSTILE}"],
    ]
    shown = []
    for full_error, arguments in [*(("0", command) for command in commands), ("1", commands[4]), ("1", commands[6])]:
        monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
        done = veles_run(*arguments, code=None)
        for output in (done.stdout, done.stderr):
            assert sent(output) == set(), (arguments, output)
        shown.append(done.stdout + done.stderr)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".log", ".dot"):
            assert sent(path.read_text()) == set(), path
        if "again" in path.parts:
            assert sent(path.name) == set()
    # The names did come up, in a run that went on, in its log and in the drawing.
    assert r"Training \x1b[2J\x07" in shown[1]
    assert r"mod.\x1b[2J\x1b]52;c;aGk=\x07\nINFO forged" in shown[1]
    assert r"\x1b[2J\x07" in (tmp_path / "graph.dot").read_text()
    assert len(list((tmp_path / "again").iterdir())) > 1


def test_an_error_that_nobody_expects_is_shown(tmp_path: Path) -> None:
    """The traceback of a bug, or of a workflow of the user's own, is as safe as everything else."""
    (tmp_path / "flow.py").write_text(
        "from runner.graph import Workflow\n"
        "class Flow(Workflow):\n"
        f"    def initialize(self):\n        raise RuntimeError({HOSTILE!r} + ' PWD=s3cret-of-mine')\n"
    )
    command = [*VELES_RUN, "workflow._target_=flow.Flow"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=300)
    assert done.returncode == 1
    error = done.stderr.decode()
    assert sent(error) == set()
    assert r"RuntimeError: \x1b[2J" in error
    assert "PWD=***" in error
    assert "s3cret" not in error.replace("' PWD=s3cret-of-mine'", "")


def test_names_of_files_and_rows_are_safe_to_show(hostile: Path, tmp_path: Path, odbc_folder: Path) -> None:
    data = hostile.read_bytes()
    header = replace(
        parse_header(data[: header_size(data)]), prefix="\x1b[2J", name="\x1b[2J_a\nb\u202e", run_id="a", log_id="a"
    )
    for store in (FileStore(tmp_path / "files"), OdbcStore(f"DRIVER={{SQLite3}};Database={tmp_path}/x.db")):
        store.prepare()
        assert sent(store.put(header, find("none"), [data])) == set()
    assert all(sent(path.name) == set() for path in (tmp_path / "files").iterdir())
