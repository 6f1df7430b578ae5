"""What the user's own code raises ends the run with its traceback, and with the command that goes on from the last snapshot."""

import re
import shlex
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of
from tests.conftest import Run

MODULE = """
import sys

from runner import Bool, Repeater, SnapshotterToFile, Unit, Workflow


class Count(Unit):
    def __init__(self, workflow, failure):
        super().__init__(workflow)
        self.failure, self.n, self.done = failure, 0, Bool(False)

    def run(self):
        self.n += 1
        if self.n == 50:
            exec(self.failure)
        self.done <<= self.n >= 100


class Counting(Workflow):
    def __init__(self, failure):
        super().__init__()
        repeater = Repeater(self).link_from(self.start_point)
        count = Count(self, failure).link_from(repeater)
        snapshotter = SnapshotterToFile(self).link_from(count)
        snapshotter.link_attrs(count, ("suffix", "n"), ("complete", "done"))
        repeater.link_from(snapshotter)
        repeater.gate_block = count.done
        self.end_point.link_from(snapshotter)
        self.end_point.gate_block = ~count.done
"""
FAILURES = {
    "raise ArithmeticError('by the user')": "ArithmeticError: by the user",
    "raise MemoryError": "MemoryError",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "sys.exit(0)": "SystemExit: 0",
    "raise BrokenPipeError(32, 'Broken pipe')": "BrokenPipeError: [Errno 32] Broken pipe",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_unit_leaves_the_last_snapshot_and_its_command(failure: str, tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "counting.py").write_text(MODULE)
    own = ("workflow._target_=counting.Counting", f'workflow.failure="{failure}"', "snapshotter.interval=20")
    done = veles_run(*own, "plotters=false", code=1)
    (log,) = tmp_path.glob("outputs/*/*/*/veles-run.log")
    where = f"(counting.py:15) (traceback: {log.relative_to(tmp_path)})"
    assert done.stderr == f"veles-run: the run has failed: {FAILURES[failure]} {where}\n"
    assert "Traceback" not in done.stdout
    assert re.search(r"counting\.py\", line 15, in run", log.read_text())
    for told in (done.stdout, log.read_text()):
        assert re.search(r"Continue: veles-run .*snapshot=\S+_40\.5\.pickle\.gz", told)
    assert header_of(next(tmp_path.glob("outputs/*/*/*/*_40.5.pickle.gz"))).workflow == "Counting"


def test_a_run_in_which_nothing_improves_fails_and_goes_on_from_its_autosave(tmp_path: Path, veles_run: Run) -> None:
    """The failing unit has changed its state before it fails. That is in no snapshot, so that it does its work again."""
    (tmp_path / "counting.py").write_text(MODULE)
    failure = "import os; assert os.path.exists('mended'); open('again', 'w')"
    own = ("workflow._target_=counting.Counting", f'workflow.failure="{failure}"', "snapshotter.directory=here")
    often = ("snapshotter.interval=1000", "snapshotter.at_most_lost=0", "snapshotter.max_overhead=1")
    told = veles_run(*own, *often, "plotters=false", code=1).stdout
    assert re.search(r"^The newest snapshot lacks the last \d+\.\d s of the run$", told, re.MULTILINE)
    command = shlex.split(re.search(r"^Continue: veles-run (.*)$", told, re.MULTILINE)[1])
    (path,) = (path for path in (tmp_path / "here").glob("*.pickle*") if not path.is_symlink())
    assert f"snapshot=here/{path.name}" in command
    assert path.name.startswith("Counting_autosave")
    (tmp_path / "mended").touch()
    assert "Counting_100.5.pickle.gz" in veles_run(*command, "plotters=false").stdout
    assert (tmp_path / "again").exists()


def test_a_run_that_diverges_says_so_in_one_line_and_continues_from_its_best(veles_run: Run) -> None:
    policy = ("lr_adjuster.policy=arbitrary_step", "lr_adjuster.lrs_with_lengths=[[1,2],[1e37,1],[1,1]]")
    done = veles_run("conf=wine", "seed=1", *policy, code=1)
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("veles-run: epoch ")
    assert "infinite or not a number" in line
    assert "Continue: veles-run " in done.stdout
    assert "Traceback" not in done.stdout


def test_what_no_snapshot_could_hold_is_told_before_an_epoch_is_computed_in_vain(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "locked.py").write_text(
        "import threading, torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
        "        self.lock = threading.Lock()\n"
    )
    own = ("~layers", "model._target_=locked.Net", "optimizer=sgd", "loss._target_=torch.nn.CrossEntropyLoss")
    done = veles_run("mnist_small", *own, "plotters=false", "-q", code=None)
    assert "module.lock cannot be pickled" in done.stderr
    (metrics,) = tmp_path.glob("outputs/*/*/*/metrics.jsonl")
    assert metrics.read_text() == ""
