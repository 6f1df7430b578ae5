"""A password that is typed is in nothing that a run leaves behind."""

import base64
import gzip
from pathlib import Path

import pytest

from runner import passwords
from runner.snapshots import codecs
from runner.snapshots.odbc.odbc_store import OdbcStore
from tests.conftest import Run
from tests.servers import PASSWORD, Server, Servers, connection_string, free_port
from tests.system.test_resume import final_snapshot

BASE = ("conf=mnist_small", "seed=1", "decision.max_epochs=1")
CANARIES = [PASSWORD.encode(), base64.b64encode(PASSWORD.encode())[:-2]]


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Server:
    return servers.database(request.param, tmp_path)


def traces(folder: Path, *texts: str) -> list[str]:
    """Returns where the password is: in names and contents of files, in snapshots, and in what was printed."""
    found = [text for text in texts if PASSWORD in text]
    for path in folder.rglob("*"):
        data = str(path).encode()
        if path.is_file():
            data += path.read_bytes()
            data += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b""
        if any(canary in data for canary in CANARIES):
            found.append(str(path))
    return found


def traces_in_snapshots(server: Server) -> list[str]:
    store = OdbcStore(server.odbc)
    found = []
    for entry in store.list():
        plain = b"".join(codecs.decode(codecs.find(entry.header.codec), store.open(entry.location)))
        if PASSWORD in entry.location + entry.header.to_json() or any(canary in plain for canary in CANARIES):
            found.append(entry.location)
    return found


def test_typed_in_full(server: Server, veles_run: Run, tmp_path: Path) -> None:
    first = veles_run(*BASE, f"snapshotter.odbc={server.odbc}")
    hints = [line for line in first.stderr.splitlines() if "a password on the command line" in line]
    assert len(hints) == 1
    assert "PWD=***" in first.stdout
    where = final_snapshot(first.stdout).replace("PWD=***", f"PWD={PASSWORD}")
    second = veles_run(f"snapshot={where}", "decision.max_epochs=2")
    third = veles_run("conf=mnist_small", f"++snapshotter.odbc='{server.odbc}'", "snapshot=latest", "mode=evaluate")
    assert traces(tmp_path, *[text for done in (first, second, third) for text in (done.stdout, done.stderr)]) == []
    assert traces_in_snapshots(server) == []
    assert "PWD=***" in next(tmp_path.glob("outputs/*/*/.hydra/overrides.yaml")).read_text()
    saved = veles_run(*BASE, f"snapshotter.odbc={server.odbc}", "--cfg", "all")
    assert "PWD=***" in saved.stdout
    assert traces(tmp_path, saved.stdout, saved.stderr) == []


def test_in_the_environment_and_in_a_conf_file(server: Server, veles_run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("VELES_ODBC", server.odbc)
    monkeypatch.setenv("VELES_PW", PASSWORD)
    whole = veles_run(*BASE, "snapshotter.odbc=${oc.env:VELES_ODBC}")
    assert "${oc.env:VELES_ODBC}" in whole.stdout
    assert "a password on the command line" not in whole.stderr
    part = veles_run(*BASE, f"snapshotter.odbc={server.odbc.replace(PASSWORD, '${oc.env:VELES_PW}')}")
    resumed = veles_run(f"snapshot={final_snapshot(whole.stdout)}", "decision.max_epochs=2")
    assert traces(tmp_path, *[text for done in (whole, part, resumed) for text in (done.stdout, done.stderr)]) == []
    (tmp_path / "conf").mkdir()
    package = Path(passwords.__file__).parent.parent / "conf" / "mnist_small.yaml"
    (tmp_path / "conf" / "mine.yaml").write_text(f"{package.read_text()}\nsnapshotter:\n  odbc: {server.odbc}\n")
    outputs = []
    for arguments in (["conf=mine"], ["-m", "conf=mine", "loader.minibatch_size=60,100"]):
        done = veles_run(*arguments, "seed=1", "decision.max_epochs=1")
        outputs += [done.stdout, done.stderr]
    (tmp_path / "conf" / "mine.yaml").unlink()
    assert traces(tmp_path, *outputs) == []
    assert traces_in_snapshots(server) == []
    assert len(list(OdbcStore(server.odbc).list())) == 6


def test_in_a_sweep_with_folders_named_after_overrides(server: Server, veles_run: Run, tmp_path: Path) -> None:
    done = veles_run(
        "-m",
        *BASE,
        f"snapshotter.odbc={server.odbc}",
        "snapshotter.compression=gz,none",
        "hydra.sweep.subdir=${hydra.job.num}_${hydra.job.override_dirname}",
    )
    assert len(list(OdbcStore(server.odbc).list())) == 2
    assert traces(tmp_path, done.stdout, done.stderr) == []
    assert traces_in_snapshots(server) == []
    assert any("PWD=***" in str(path) for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("full_error", ["0", "1"])
def test_when_things_go_wrong(full_error: str, veles_run: Run, tmp_path: Path, odbc_folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
    odbc = connection_string("MySQL", free_port())
    lines = [
        [*BASE, f"snapshotter.odbc={odbc}"],
        [*BASE, f"snapshoter.odbc={odbc}"],
        [*BASE, f"snapshotter.odbc={odbc}", "snapshotter.interval=x"],
        [*BASE, f"snapshot=odbc://{odbc}&veles", f"--snapshot=odbc://{odbc}&veles&abc&"],
        [f"snapshot=odbc://{odbc}&veles&abc&"],
        [*BASE, f"snapshotter.odbc={odbc}", "snapshot=missing.pickle"],
    ]
    for arguments in lines:
        done = veles_run(*arguments, code=None)
        assert done.returncode in (1, 2)
        assert traces(tmp_path, done.stdout, done.stderr) == []


def test_in_file_mode(veles_run: Run, tmp_path: Path) -> None:
    odbc = f"DRIVER={{SQLite3}};Database=x;PWD={PASSWORD}"
    done = veles_run(*BASE, f"snapshotter.odbc={odbc}", "snapshotter.odbc=null")
    where = final_snapshot(done.stdout)
    assert Path(tmp_path, where).is_file()
    again = veles_run(f"snapshot={where}", "decision.max_epochs=2")
    assert traces(tmp_path, done.stdout, done.stderr, again.stdout, again.stderr) == []
