"""The code that made a snapshot is kept with it, told of, extracted, and run only with the authority to."""

import gzip
import hashlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import SnapshotDamagedError
from runner.snapshots.kept_code import KeptCode
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.restoring import kept_modules
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Store
from tests import forked
from tests.conftest import Run
from tests.servers import PASSWORD, Server, seen_by_client

FLOW = """
from runner import Bool, Repeater, Snapshotter, Unit, Workflow
from runner.snapshots.stores.file import FileStore

class Count(Unit):
    def __init__(self, workflow, limit):
        super().__init__(workflow, "count")
        self.limit, self.n, self.done = limit, 0, Bool(False)

    def run(self):
        self.n += 1
        self.done <<= self.n >= self.limit
        with open("said", "a") as file:
            file.write("first\\n")

    @property
    def suffix(self):
        return f"n_{self.n}"

class Flow(Workflow):
    def __init__(self, limit=3):
        super().__init__(name="flow")
        repeater = Repeater(self).link_from(self.start_point)
        count = Count(self, limit).link_from(repeater)
        snapshotter = Snapshotter(self, "snapshotter", store=FileStore("snapshots")).link_from(count)
        snapshotter.link_attrs(count, "suffix", ("complete", "done"))
        repeater.link_from(snapshotter)
        repeater.gate_block = count.done
        self.end_point.link_from(snapshotter)
        self.end_point.gate_block = ~count.done
"""
CONF = f"""
workflow:
  _target_: mine.flow.Flow
snapshotter:
  directory: snapshots
# odbc: DRIVER=x;PWD={PASSWORD}
"""
KEY = "00112233445566778899aabbccddeeff1f2e3d4c5b6a79880123456789abcdef"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of the user's own, a conf file, and a key."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    (tmp_path / "mine").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "flow.py").write_text(FLOW)
    (tmp_path / "conf" / "flow.yaml").write_text(CONF)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    for command in (["init", "-q"], ["add", "mine"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    with (tmp_path / "mine" / "flow.py").open("a") as file:
        file.write("# not committed\n")
    return tmp_path


def shelf(folder: Path, *arguments: object, code: int = 0) -> str:
    texts = [str(argument) for argument in arguments]
    done = forked.run(texts, cwd=folder, environment=os.environ, timeout=120, command="veles-snapshots")
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_kept_told_extracted_and_run(project: Path, veles_run: Run) -> None:
    source = project / "mine" / "flow.py"
    before = source.read_text()
    veles_run("conf=flow", "snapshotter.key=key", "snapshotter.mode=0600")
    (kept,) = project.glob("snapshots/.*.code")  # once for all snapshots of the run
    shelf(project, "tag", "latest", "newest")
    assert {path.stat().st_mode & 0o777 for path in project.glob("snapshots/.*")} == {0o600}
    assert PASSWORD not in gzip.decompress(kept.read_bytes()).decode()
    listing = json.loads(shelf(project, "code", "latest", "--json"))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True).stdout.strip()
    assert listing["commit"] == head
    assert [(row["file"], row["now"]) for row in listing["files"]] == [
        ("mine/__init__.py", "the same"),
        ("mine/flow.py", "the same"),
    ]
    source.write_text(before.replace("first", "second"))
    assert '-            file.write("first\\n")' in shelf(project, "code", "latest", "--diff")
    assert (
        '-            file.write("first\\n")'
        in json.loads(shelf(project, "code", "latest", "--diff", "--json"))["files"][1]["diff"]
    )
    shelf(project, "code", "latest", "--extract", "out")
    assert (project / "out" / "mine" / "flow.py").read_text() == before
    assert "not committed" in (project / "out" / "changes.diff").read_text()
    assert "exists" in shelf(project, "code", "latest", "--extract", "out", code=2)
    shelf(project, "cp", "latest", "--to", "copies")
    assert {path.stat().st_mode & 0o777 for path in (project / "copies").iterdir()} == {0o600}
    assert "mine/flow.py" in shelf(project, "code", "latest", "--in", "copies")

    first = "snapshot=snapshots/flow_n_1.5.pickle.gz"
    (project / "said").unlink()
    done = veles_run("conf=flow", first, "snapshotter.key=key", "snapshotter.directory=again")
    assert (project / "said").read_text() == "second\n" * 2
    assert "mine.flow +1 -1" in done.stdout + done.stderr
    for wrong in ([], ["restore.trust=restricted"]):
        assert "restore.trust" in veles_run("conf=flow", first, "restore.code=snapshot", *wrong, code=2).stderr
    signed = ["restore.trust=signed", "restore.key=key", "restore.code=snapshot", "snapshotter.key=key"]
    (project / "said").unlink()
    veles_run("conf=flow", first, *signed, "snapshotter.directory=kept")
    assert (project / "said").read_text() == "first\n" * 2
    (project / "said").unlink()
    veles_run("-m", "conf=flow", first, *signed[:2], "restore.code=snapshot,today", "snapshotter.directory=swept")
    assert (project / "said").read_text() == "first\n" * 2 + "second\n" * 2
    # What goes on is kept with the code that ran.
    assert [row["now"] for row in json.loads(shelf(project, "code", "latest", "--in", "kept", "--json"))["files"]][1] == "+1 -1"

    data = gzip.decompress(kept.read_bytes()).replace(b"first", b"third")
    kept.write_bytes(gzip.compress(data))
    assert "digest" in veles_run("conf=flow", first, *signed, code=2).stderr
    assert "digest" in shelf(project, "code", "latest", "--in", "snapshots", code=2)
    kept.unlink()
    for which in (first, "snapshot=latest", "snapshot=auto"):
        assert "no code" in veles_run("conf=flow", which, *signed, code=2).stderr
    shelf(project, "code", "latest", "--in", "snapshots", code=2)
    veles_run("conf=flow", "snapshotter.keep_code=false", "snapshotter.directory=without")
    assert not [*project.glob("without/.*.code")]


NETWORK = """
import torch
from blocks import Block

class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(2, 4), Block())
"""
LEARNING = """
loader: {name: table, data_file: t.csv, label: label, validation_ratio: 0.25}
layers: {net: {_target_: net.Net}, out: {_target_: torch.nn.Linear, in_features: 4, out_features: 2}}
loss: {_target_: losses.Loss}
optimizer: {_target_: steps.Steps, lr: 0.1}
decision: {max_epochs: 1}
snapshotter: {directory: snapshots}
seed: 1
"""
OWN = {
    "blocks": "import torch\n\nclass Block(torch.nn.Module):\n    def forward(self, x):\n        return x.tanh()\n",
    "losses": "import torch\n\nclass Loss(torch.nn.CrossEntropyLoss):\n    pass\n",
    "net": NETWORK,
    "steps": "import torch\n\nclass Steps(torch.optim.SGD):\n    pass\n",
}


def test_the_code_of_networks_losses_and_optimizers_is_the_runs_own(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "own.yaml").write_text(LEARNING)
    (tmp_path / "t.csv").write_text("a,b,label\n" + "".join(f"{n % 7},{n % 5},{n % 2}\n" for n in range(40)))
    for name, source in OWN.items():
        (tmp_path / f"{name}.py").write_text(source)
    veles_run("conf=own")
    assert [row["file"] for row in json.loads(shelf(tmp_path, "code", "latest", "--json"))["files"]] == [f"{n}.py" for n in OWN]
    same = ("conf=own", "snapshot=latest", "restore.trusted=[blocks]")
    used = [(*same, "mode=evaluate"), (*same, "mode=predict", "data=t.csv", "output=o.csv"), (*same, "decision.max_epochs=2")]
    for typed in used[:2]:
        assert "code has changed" not in veles_run(*typed).stdout
    for name in OWN:
        (tmp_path / f"{name}.py").write_text(OWN[name].replace("tanh", "relu") + "\n# changed\n")
    for typed in used:
        (told,) = (line for line in veles_run(*typed).stdout.splitlines() if "code has changed" in line)
        assert all(f"{name} +" in told for name in OWN)


def test_the_script_that_runs_is_not_imported_again() -> None:
    before = sys.modules["__main__"], [*sys.meta_path]
    with kept_modules.apart():
        kept_modules.install(KeptCode({"__main__.py": "raise SystemExit"}, {"__main__": "__main__.py"}))
        assert importlib.import_module("__main__") is before[0]
    assert (sys.modules["__main__"], sys.meta_path) == before


def test_stores_keep_code_once(database: Server, tmp_path: Path) -> None:
    stores: list[Store] = [FileStore(tmp_path / "files"), OdbcStore(database.odbc)]
    stores[1].prepare()
    for store in stores:
        code = KeptCode({"a.py": "x = 1\n"}, {"a": "a.py"})
        assert store.kept_code(code.digest) is None
        for _ in range(2):
            store.keep_code(code.digest, code.packed())
        assert KeptCode.unpacked(store.kept_code(code.digest) or b"", code.digest) == code
        assert list(store.list()) == []
        assert store.marks() == {}
    assert seen_by_client(database, "SELECT count(*) FROM veles_chunks WHERE number = -3") == [["1"]]


@pytest.mark.parametrize(
    "name",
    ["../x.py", "/x.py", "a/../x.py", "a//x.py", "a.pth", "x", "a/.hidden.py", "a\x00.py", "a\\x.py", "", "a/x.py/", "./x.py"],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    code = KeptCode({name: "x"}, {"x": name})
    with pytest.raises(SnapshotDamagedError, match="elsewhere"):
        KeptCode.unpacked(code.packed(), code.digest)
    conf = KeptCode({}, conf=(name, "x"))
    with pytest.raises(SnapshotDamagedError, match="elsewhere"):
        KeptCode.unpacked(conf.packed(), conf.digest)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"files": 1}', b"\xff", b"[" * 100_000])
def test_code_that_is_none_is_refused(text: bytes) -> None:
    digest = hashlib.sha256(text).hexdigest()
    for data in (text, gzip.compress(text)):
        with pytest.raises(SnapshotDamagedError):
            KeptCode.unpacked(data, digest)


def test_code_of_any_size_is_refused_in_time() -> None:
    with pytest.raises(SnapshotDamagedError):
        KeptCode.unpacked(gzip.compress(bytes(1 << 28)), "0" * 64)
