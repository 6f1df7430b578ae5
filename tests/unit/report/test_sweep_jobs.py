"""What the folders of jobs say is taken for what it is, whoever has written into them."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.report.folder_files import read_yaml
from runner.report.goal import Goal
from runner.report.sweep_jobs import Costs, read_sweep
from tests.shelves import Made, header


@pytest.mark.parametrize(
    "result",
    [
        {"best_epoch": True, "objective": "1", "seconds": "x", "snapshot_cost": [1]},
        {"best_epoch": 1.5, "objective": [1], "seconds": None, "snapshot_cost": {"state": "many", "pause": [1]}},
        {"best_epoch": {}, "objective": None, "seconds": float("inf"), "snapshot_cost": "none"},
        [],
        "text",
    ],
)
def test_a_result_that_is_none(result: Any, tmp_path: Path) -> None:
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    (tmp_path / "0" / "result.json").write_text(json.dumps(result))
    (job,) = read_sweep(tmp_path).jobs
    assert (job.objective, job.best_epoch, job.seconds) == (None, None, None)
    assert job.costs == Costs(None, None, None, None)
    assert read_sweep(tmp_path).best is None


@pytest.mark.parametrize(("score", "objective"), [(-0.8, -0.9), (0.8, 0.9)])
def test_a_killed_job_has_the_best_of_its_snapshots_as_what_is_to_be_low(
    score: float, objective: float, tmp_path: Path
) -> None:
    made = Made("file", None, tmp_path)
    metrics = {"best": 0.9, "best_epoch": 1, "validation": 0.8}
    made.add(header(1, "0", "0", score=score, metrics=metrics))
    (folder,) = (tmp_path / "outputs").iterdir()
    (folder / ".hydra").mkdir()
    (job,) = read_sweep(tmp_path / "outputs").jobs
    assert (job.objective, job.best_epoch) == (objective, 1)


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 200_000, "? " * 200_000, "a: [", "\tx", "&a [*a]"])
def test_yaml_that_no_run_has_written(text: str, tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text(text)
    assert Goal.of(tmp_path) == Goal()
    found = read_yaml(tmp_path / "multirun.yaml")
    assert found is None or text == "&a [*a]"
