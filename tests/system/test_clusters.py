"""The batch script of the docs, with a stand-in for SLURM: it sends the signal, and starts again what is requeued."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import yaml

from tests.states import differences, state_of

DOCS = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
SMALL = "conf=mnist_small loader.train_size=200 loader.validation_size=100 plotters=false report=false decision.max_epochs=40"


class Slurm:
    """Runs one job at a time, as SLURM would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (script,) = re.findall(r"^```bash\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
        (folder / "requeue.sh").write_text(script)
        tools = folder / "bin"
        tools.mkdir()
        (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {folder}/requeued\n')
        (tools / "veles-run").write_text(f'#!/bin/sh\nexec {sys.executable} -m runner "$@"\n')
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}

    def batch(self, *arguments: str, task: str | None = None, after: str | None = None) -> int:
        """Runs the script; sends it SIGUSR1 when the output has a line that begins so. Returns its exit code."""
        array = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": task} if task else {}
        command = ["bash", "requeue.sh", *arguments]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment | array, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout:
                if after is not None and line.startswith(after):
                    process.send_signal(signal.SIGUSR1)
                    after = None
        return process.returncode

    def requeued(self) -> list[str]:
        path = self.folder / "requeued"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def typed(of: str) -> list[str]:
    """Returns what the docs hand to the script, for a small network."""
    (line,) = (line for line in DOCS.splitlines() if line.startswith("sbatch ") and of in line)
    words = shlex.split(line.partition("requeue.sh")[2])
    return [word.replace("conf=mnist", SMALL) for word in words]


def test_a_sweep_is_requeued_until_it_is_done(slurm: Slurm) -> None:
    sweep = typed("-m")
    assert slurm.batch(*sweep, after="Epoch 30") == 0
    assert slurm.requeued() == ["requeue 17"]
    assert slurm.batch(*sweep) == 0
    assert slurm.requeued() == ["requeue 17"]
    (table,) = slurm.folder.glob("multirun/*/*/*/sweep.csv")
    assert list(pandas.read_csv(table)["status"]) == ["finished"] * 3


def test_a_task_of_an_array_is_requeued_and_goes_on(slurm: Slurm) -> None:
    (run,) = typed("--array")
    assert slurm.batch(run, task="2", after="Epoch 3") == 0
    assert slurm.requeued() == ["requeue 17_2"]
    assert slurm.batch(run, task="2") == 0
    assert slurm.batch(run.replace("directory=runs", "directory=whole"), task="2") == 0
    newest = [(slurm.folder / place / "mnist_small_current.5.pickle.gz").resolve() for place in ("runs", "whole")]
    assert not differences(*map(state_of, newest))


def test_what_is_wrong_is_not_requeued(slurm: Slurm) -> None:
    assert slurm.batch("veles-run", "conf=nowhere") == 2
    assert not slurm.requeued()


def test_the_job_of_kubernetes_ignores_the_exit_code_of_a_stop() -> None:
    text = re.findall(r"^```yaml\n(apiVersion.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)[0]
    spec = yaml.safe_load(text)["spec"]
    names = {container["name"] for container in spec["template"]["spec"]["containers"]}
    rules = {rule["action"]: rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"]}
    assert rules["Ignore"]["values"] == [75]
    assert {rule["containerName"] for rule in rules.values()} == names
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # without which a policy is refused
