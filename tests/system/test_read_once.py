"""One process of each machine reads the data for all that share a run there: the same bits, in memory that all have."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests import read_together
from tests.states import differences, state_of
from tests.system.test_resume import final_snapshot
from tests.together import Together, run_together

ITEMS = """
import os, pathlib, time
import torch


class Items(torch.utils.data.Dataset):
    \"\"\"Items that say which process reads them, and of which one may be bad, or never come.\"\"\"

    def __init__(self, bad=None):
        pathlib.Path(f"read_by_{os.environ.get('RANK', 0)}").touch()
        self.bad = bad

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 30 and self.bad == "late" and "RANK" in os.environ:
            time.sleep(2)
        if index == 30 and self.bad == "never":
            time.sleep(600)
        if index == 30 and self.bad == "error":
            raise OSError("no such item")
        return torch.arange(4) + (float("not_finite") if index == 30 and self.bad == "not_finite" else index), index % 2
"""
NETWORK = """
loader: {name: dataset, train: {_target_: items.Items}, minibatch_size: 16, validation_ratio: 0.2}
parallel: {shards: 4, timeout: 1}
layers:
  out: {type: softmax, learning_rate: 0.1}
"""
BASE = ("conf=net", "seed=3", "plotters=false", "report=false", "decision.max_epochs=2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "net.yaml").write_text(f"# @package _global_\n{NETWORK}")
    (tmp_path / "items.py").write_text(ITEMS)
    return tmp_path


def readers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("read_by_*"))


def test_every_loader_has_what_it_would_have_read_itself(tmp_path: Path) -> None:
    read_together.write(tmp_path)
    with Together(["-m", "tests.read_together", str(tmp_path)], size=2, cwd=tmp_path, command="python") as together:
        ended = together.end()
    assert [one.returncode for one in ended] == [0, 0], ended
    first, other = (json.loads(one.stdout) for one in ended)
    assert first.keys() == other.keys() == read_together.loaders(tmp_path).keys()
    for name, found in first.items():
        own = name == "own"
        assert found == {"different": [], "times": 1, "shared": not own}, name
        assert other[name] == {"different": [], "times": int(own), "shared": not own}, name


def test_runs_are_the_same_and_data_that_come_late_are_waited_for(folder: Path) -> None:
    """Reading takes longer than a process has to answer."""
    states = []
    for size in (1, 2):
        output = run_together([*BASE, "+loader.train.bad=late"], size=size, cwd=folder)
        states.append(state_of(folder / final_snapshot(output)))
    assert differences(*states) == []
    assert readers(folder) == ["read_by_0"]


@pytest.mark.parametrize("bad", ["not_finite", "error"])
def test_what_is_wrong_with_the_data_is_said_once(bad: str, folder: Path) -> None:
    with Together([*BASE, f"+loader.train.bad={bad}"], size=2, cwd=folder) as together:
        ended = together.end()
    assert [one.returncode for one in ended] == [2, 2]
    (said,) = [line for one in ended for line in one.stderr.splitlines()]
    assert "30" in said
    assert readers(folder) == ["read_by_0"]


def test_a_loader_that_cannot_be_read_once_is_named(folder: Path) -> None:
    own = ("~loader", "+loader={_target_: tests.read_together.OddLoader}")
    with Together([*BASE, *own], size=2, cwd=folder) as together:
        ended = together.end()
    assert [one.returncode for one in ended] == [2, 2]
    (said,) = [line for one in ended for line in one.stderr.splitlines()]
    assert "attribute odd" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_lost_while_it_reads_ends_the_others(number: signal.Signals, folder: Path) -> None:
    with Together([*BASE, "+loader.train.bad=never"], size=2, cwd=folder) as together:
        first, other = together.processes
        other.wait_for(lambda: readers(folder))
        os.kill(first.pid, number)
        ended = other.end(30)
    assert ended.returncode == 1
    (said,) = [line for line in ended.stderr.splitlines() if line.startswith("veles-run")]
    assert "process 0 of 2 has " in said
    assert readers(folder) == ["read_by_0"]
