"""`snapshot=auto` and `snapshot=latest` go on with the run that is typed, in single runs and sweeps; never twice at once."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of
from tests import forked
from tests.conftest import Run
from tests.system.test_many_tasks import LIMIT, start, user_folder, wait_for  # noqa: F401
from tests.system.test_resume import final_snapshot

TYPED = ("layers.fc1.learning_rate=0.05", "loader.minibatch_size=20")
TRUSTED = "restore.trusted=[gated]"
LAST = re.compile(r"^Resuming from (\S+) ", re.MULTILINE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a run of one epoch whose seed was drawn, and its last snapshot."""
    folder = user_folder(tmp_path_factory.mktemp("finished"))
    arguments = ["conf=gated", *TYPED, "seed=null", "decision.max_epochs=1"]
    done = forked.run(arguments, cwd=folder, environment=os.environ, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return folder, final_snapshot(done.stdout)


@pytest.fixture
def folder(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of it that a test may add to."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path


def test_what_is_the_same_run_to_auto(folder: Path, finished: tuple[Path, str], veles_run: Run) -> None:
    """The run is complete, so that each of these adds nothing."""
    seed = header_of(folder / finished[1]).config["seed"]
    for typed in (
        [*TYPED, "seed=null"],
        ["seed=null", *reversed(TYPED)],
        [*TYPED, "seed=null", "snapshotter.keep_last=2", "snapshotter.compression=xz"],
        [*TYPED, "seed=null", "decision.fail_iterations=70", "layers.fc1.weights_decay=0", "device=cpu", "threads=1"],
        [*TYPED, f"seed={seed}"],
    ):
        output = veles_run("conf=gated", *typed, "decision.max_epochs=1", "snapshot=auto", cwd=folder).stdout
        assert LAST.search(output)[1] == finished[1]
        assert "The run is complete" in output
    sweep = veles_run("-m", "conf=gated", *TYPED, "seed=null", "decision.max_epochs=1,2", "snapshot=auto", cwd=folder).stdout
    assert LAST.findall(sweep) == [finished[1]] * 2
    assert "Epoch 2" in sweep


@pytest.mark.parametrize(
    ("changed", "differs"),
    {
        "layers.fc1.learning_rate=0.2": r"layers\.fc1\.learning_rate \(0\.05, here 0\.2\)",
        "seed=2": r"seed \(\d+, here 2\)",
    }.items(),
)
def test_another_run_starts_afresh_and_says_in_what_it_differs(
    changed: str, differs: str, folder: Path, finished: tuple[Path, str], veles_run: Run
) -> None:
    typed = ["conf=gated", *TYPED, "seed=null", changed, "decision.max_epochs=1"]
    output = veles_run(*typed, "snapshot=auto", cwd=folder).stdout
    said = rf"but of 1 other run; the newest, {re.escape(finished[1])}, differs in {differs}; starting afresh"
    assert re.search(said, output)
    assert "Epoch 1:" in output
    own = final_snapshot(output)
    assert LAST.search(veles_run(*typed, "snapshot=auto", cwd=folder).stdout)[1] == own
    unchanged = ["conf=gated", *TYPED, "seed=null", "decision.max_epochs=1"]
    assert LAST.search(veles_run(*unchanged, "snapshot=auto", cwd=folder).stdout)[1] == finished[1]
    latest = veles_run(*unchanged, "snapshot=latest", cwd=folder).stdout
    assert LAST.search(latest)[1] == finished[1]
    assert f"snapshot=latest: passed over 1 other run; the newest, {own}, differs in" in latest


def test_the_name_that_a_run_has_anyway_may_be_typed(folder: Path, finished: tuple[Path, str], veles_run: Run) -> None:
    typed = ("conf=gated", *TYPED, "seed=null", "workflow.name=gated", "decision.max_epochs=2", "snapshot=auto")
    output = veles_run(*typed, cwd=folder).stdout
    assert LAST.search(output)[1] == finished[1]
    assert "Epoch 2:" in output


@pytest.mark.parametrize("where", [["snapshotter.directory=here"], []])
def test_the_same_run_is_not_started_twice_at_once(where: list[str], tmp_path: Path, start, veles_run: Run) -> None:  # noqa: F811
    user_folder(tmp_path)
    (tmp_path / "closed").touch()
    same = ("conf=gated", *where, "snapshot=auto", "plotters=false", "decision.max_epochs=8", "snapshotter.interval=90")
    running = start(*same)
    wait_for(tmp_path, "waiting-*", 1, [running])
    refused = veles_run(*same, code=2).stderr
    assert f"process {running.process.pid} on " in refused
    assert "Epoch 1:" in veles_run(*same[:-2], "layers.fc1.learning_rate=0.3", "decision.max_epochs=1").stdout  # another run
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.join()
    (tmp_path / "closed").unlink()
    assert "Epoch 8:" in veles_run(*same).stdout


def test_a_run_whose_class_was_renamed_is_the_same(tmp_path: Path, veles_run: Run) -> None:
    def write(name: str) -> None:
        (tmp_path / f"{name}.py").write_text(f"import torch\n\nclass {name.title()}(torch.optim.SGD):\n    pass\n")
        (tmp_path / "conf" / "gated.yaml").write_text(f"{plain}optimizer: {{_target_: {name}.{name.title()}, lr: 0.1}}\n")

    plain = (user_folder(tmp_path) / "conf" / "gated.yaml").read_text()
    write("old")
    veles_run("gated", "decision.max_epochs=1", "seed=1")
    (tmp_path / "old.py").unlink()
    write("new")
    renamed = "restore.renamed={old.Old: new.New}"
    for limit, typed in ((2, [renamed]), (3, [renamed]), (4, [])):
        output = veles_run("gated", f"decision.max_epochs={limit}", "seed=1", "snapshot=auto", *typed).stdout
        assert re.findall(r"^Epoch (\d+)", output, re.MULTILINE) == [str(limit)], output


def test_another_conf_file_is_another_run(folder: Path, finished: tuple[Path, str], veles_run: Run) -> None:
    shutil.copy(folder / "conf" / "gated.yaml", folder / "conf" / "other.yaml")
    output = veles_run("conf=other", *TYPED, "seed=null", "decision.max_epochs=1", "snapshot=auto", cwd=folder).stdout
    assert "there is no snapshot of 'other' in outputs and multirun; starting afresh" in output


def test_what_latest_goes_on_with(folder: Path, finished: tuple[Path, str], veles_run: Run) -> None:
    """Its run; else that of the conf file, as a branch; else, where nothing is typed that makes another run, any."""
    any_run = veles_run("conf=gated", "snapshot=latest", cwd=folder, code=None).stdout
    assert LAST.search(any_run)[1] == finished[1]
    changed = ("conf=gated", "layers.fc1.learning_rate=0.3", "decision.max_epochs=2", "snapshot=latest")
    refused = veles_run(*changed, cwd=folder, code=2).stderr
    assert "differs in layers.fc1.learning_rate (0.05, here 0.3), loader.minibatch_size (20, here 10)" in refused
    plain = final_snapshot(veles_run("conf=gated", "decision.max_epochs=1", cwd=folder).stdout)
    branch = veles_run(*changed, cwd=folder).stdout
    assert LAST.search(branch)[1] == plain
    assert re.search(r"│ layers\.fc1\.learning_rate +│ 0\.1 +│ 0\.3 +│", branch)
    assert LAST.search(veles_run(*changed, cwd=folder).stdout)[1] == final_snapshot(branch)
    unnamed = veles_run("snapshot=latest", TRUSTED, cwd=folder).stdout
    assert LAST.search(unnamed)[1] == final_snapshot(branch)
    auto = veles_run("conf=gated", "layers.fc1.learning_rate=0.3", "snapshot=auto", "decision.max_epochs=2", cwd=folder).stdout
    assert LAST.search(auto)[1] == final_snapshot(branch)


def test_a_run_that_another_job_goes_on_with(folder: Path, finished: tuple[Path, str], start, veles_run: Run) -> None:  # noqa: F811
    (folder / "closed").touch()
    where = "snapshotter.directory=snapshots"
    running = start("conf=gated", *TYPED, "seed=null", where, "plotters=false")
    wait_for(folder, "waiting-*", 1, [running])
    wait_for(folder, "snapshots/*validation*", 1, [running])  # its seed is drawn, and so is how often it improves
    same = ("conf=gated", *TYPED, "seed=null", where)
    newest = max((folder / "snapshots").glob("*validation*"), key=lambda path: path.stat().st_mtime_ns).relative_to(folder)
    for typed in ((*same, "snapshot=auto"), (*same, "snapshot=latest"), (f"snapshot={newest}", TRUSTED)):
        refused = veles_run(*typed, cwd=folder, code=2).stderr
        assert refused.startswith("veles-run: another job goes on with this run in snapshots: process ")
        assert f"process {running.process.pid} on " in refused
        assert len(refused.splitlines()) == 1
    (folder / "closed").unlink()
    assert "validation" in veles_run("conf=gated", where, "snapshot=latest", "mode=evaluate", cwd=folder).stdout
    branch = (f"snapshot={newest}", TRUSTED, "layers.fc1.learning_rate=0.5", "decision.max_epochs=9", "hydra.run.dir=branch")
    assert "Epoch 9" in veles_run(*branch, "snapshotter.directory=branch", cwd=folder).stdout
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.join()
    again = veles_run(*same, "snapshot=auto", "decision.max_epochs=9", cwd=folder).stdout
    assert LAST.search(again)[1].startswith("snapshots/gated_validation")
    assert [path.name for path in (folder / "snapshots").glob(".*") if path.suffix != ".code"] == []
