"""Hostile snapshots come in by every entrance, and end in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.snapshots import codecs
from runner.snapshots.format.header import Header
from runner.snapshots.format.layout import TRAILER_SIZE, Digest, header_bytes, header_size
from runner.snapshots.odbc.odbc_store import OdbcStore
from tests.conftest import Run
from tests.fuzz.nodes import read, write
from tests.servers import Server, Servers
from tests.unit.snapshots.test_attacks import PARTIAL, identity, made, own, state_of, unit

SMALL = ("conf=mnist_small", "loader.train_size=100", "loader.validation_size=20", "seed=1", "snapshotter.compression=none")
MORE = "decision.max_epochs=2"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A snapshot of one epoch."""
    from tests import forked

    folder = tmp_path_factory.mktemp("honest")
    words = (*SMALL, "decision.max_epochs=1", "snapshotter.directory=given", "plotters=false")
    done = forked.run(words, cwd=folder, environment={"OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = (path for path in (folder / "given").iterdir() if not path.is_symlink())
    return path.read_bytes()


def changed(data: bytes, change: Callable[[Any], object]) -> tuple[Header, bytes]:
    """Returns the header of a snapshot, and the snapshot with another state."""
    size = header_size(data[:8])
    header = Header(**json.loads(data[7 : size - 1]))
    tree = read(data[size:-TRAILER_SIZE])
    change(tree)
    body = header_bytes(header) + write(tree)
    digest = Digest()
    digest.update(body)
    return header, body + digest.trailer()


def call_when_restored(tree: Any) -> None:
    state_of(tree, "snapshotter")["runs"] = PARTIAL


def call_a_module(tree: Any) -> None:
    state_of(tree, "snapshotter")["anything"] = [identity()]


def link_the_store(tree: Any) -> None:
    state_of(tree, "snapshotter")["store_"] = made(own("Link"), unit(tree, "decision"), "best", True)


def hide_the_run(tree: Any) -> None:
    state_of(tree, "decision")["run"] = "x"


ATTACKS = (call_when_restored, call_a_module, link_the_store, hide_the_run)


@pytest.mark.parametrize("entrance", ["file", "latest", "odbc", "evaluate"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_each_entrance_refuses(
    honest: bytes, entrance: str, attack: Callable[[Any], None], veles_run: Run, servers: Servers, tmp_path: Path
) -> None:
    header, data = changed(honest, attack)
    folder = tmp_path / "given"
    folder.mkdir()
    path = folder / f"{header.name}.5.pickle"
    path.write_bytes(data)
    words: tuple[str, ...] = {
        "file": (f"snapshot={path}", MORE),
        "latest": ("conf=mnist_small", "snapshot=latest", "snapshotter.directory=given", MORE),
        "odbc": (),
        "evaluate": (f"snapshot={path}", "mode=evaluate"),
    }[entrance]
    if entrance == "odbc":
        database: Server = servers.database("sqlite", tmp_path)
        store = OdbcStore(database.odbc)
        store.prepare()
        location = store.put(header, codecs.find("none"), [data])
        words = (f"snapshot={location}", MORE)
    before = set(tmp_path.rglob("*.pickle*"))
    done = veles_run(*words, code=2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot be used" in done.stderr
    assert set(tmp_path.rglob("*.pickle*")) == before
