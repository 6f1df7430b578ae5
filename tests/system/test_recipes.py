"""The stages of DVC and Snakemake in the docs: what is stopped or killed goes on, and ends as a run in one go does."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.metrics import read_metrics
from tests.conftest import Run
from tests.states import differences, state_of

DOCS = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
TOOLS = Path(sys.prefix) / "recipes" / "bin"
SMALL = (
    "conf=mnist_small",
    "loader.train_size=200",
    "loader.validation_size=100",
    "plotters=false",
    "report=false",
    "decision.fail_iterations=9999",
)
TIMES = ("seconds", "samples_per_second")


def block(language: str, begin: str) -> str:
    """The block of the docs that begins so, for a small network."""
    (text,) = (
        text for text in re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE) if text.startswith(begin)
    )
    return text.replace("conf=mnist", " ".join(SMALL))


class Tool:
    """Runs DVC or Snakemake in a folder, where `veles-run` is ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = folder / "own"
        own.mkdir()
        (own / "veles-run").write_text(f'#!/bin/sh\nexec {sys.executable} -m runner "$@"\n')
        (own / "veles-run").chmod(0o755)
        home = {"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "home"), "DVC_NO_ANALYTICS": "1"}
        self.environment = os.environ | home | {"PATH": f"{own}:{TOOLS}:{os.environ['PATH']}"}

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def interrupted(self, number: signal.Signals, *command: str) -> int:
        """Runs a command, and sends its run a signal once that has a snapshot; returns the exit code."""
        with subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL) as process:
            while not list(self.folder.glob("run*/**/*.pickle.gz")):
                assert process.poll() is None
                time.sleep(0.01)
            os.kill(self._run(), number)
        return process.returncode

    def _run(self) -> int:
        """The process of `veles-run` that works in the folder."""
        while True:
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    if (path / "cwd").readlink() == self.folder and b"\0runner\0" in (path / "cmdline").read_bytes():
                        return int(path.name)
                except OSError:  # it has just ended
                    continue


def rows(folder: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in read_metrics(folder)]


def is_as_in_one_go(run: Path, whole: Path) -> bool:
    """Whether a run has the metrics and the last state of another."""
    ends = [next(folder.glob("*_current*")).resolve() for folder in (run, whole)]
    return rows(run) == rows(whole) and not differences(*map(state_of, ends))


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


def test_dvc_goes_on_after_a_stop_and_with_more_epochs(tool: Tool, veles_run: Run) -> None:
    (tool.folder / "dvc.yaml").write_text(block("yaml", "stages:"))
    parameters = tool.folder / "params.yaml"
    parameters.write_text("epochs: 80\n")
    tool.run("git", "init", "--quiet")
    tool.run("dvc", "init", "--quiet")
    assert tool.interrupted(signal.SIGTERM, "dvc", "repro") != 0
    stopped = json.loads((tool.folder / "run" / "result.json").read_text())
    assert (stopped["status"], stopped["exit_code"]) == ("stopped", 75)
    tool.run("dvc", "repro")
    parameters.write_text("epochs: 83\n")
    tool.run("dvc", "repro")
    told = tool.run("dvc", "metrics", "show", "--json")
    result = json.loads((tool.folder / "run" / "result.json").read_text())
    assert (result["status"], rows(tool.folder / "run")[-1]["epoch"]) == ("finished", 83)
    shown = json.loads(told)[""]["data"]["run/result.json"]["data"]  # of lists and nulls DVC shows nothing
    assert {"status": "finished", "objective": result["objective"], "exit_code": 0}.items() <= shown.items()
    veles_run(*SMALL, "decision.max_epochs=83", "seed=1", "hydra.run.dir=whole")
    assert is_as_in_one_go(tool.folder / "run", tool.folder / "whole")


def test_snakemake_starts_what_was_killed_again(tool: Tool, veles_run: Run) -> None:
    rule = block("python", "rule train").replace("seed=1", "seed=1 decision.max_epochs=80")
    (tool.folder / "Snakefile").write_text(rule)
    assert tool.interrupted(signal.SIGKILL, "snakemake", "--cores", "1", "results/0.1.json") == 0
    veles_run(*SMALL, "decision.max_epochs=80", "seed=1", "layers.fc1.learning_rate=0.1", "hydra.run.dir=whole")
    assert is_as_in_one_go(tool.folder / "runs" / "0.1", tool.folder / "whole")
    assert json.loads((tool.folder / "results" / "0.1.json").read_text())["status"] == "finished"
