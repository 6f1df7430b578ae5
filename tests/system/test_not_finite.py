"""Numbers that are infinite or none, in whichever set: they end the run, are null in files, and are no predictions."""

import json
from pathlib import Path

import pandas
import pytest

from tests.conftest import Run

CONF = """
loader: {name: table, data_file: train.csv, validation_file: validation.csv, label: kind, minibatch_size: 10}
layers:
  fc: {type: all2all_relu, output_sample_shape: 50, learning_rate: 0.1, weights_stddev: 5}
  out: {type: softmax, learning_rate: 0.1, weights_stddev: 5}
decision: {max_epochs: 3}
seed: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A conf whose network gives no number for the last row of the validation set, whose label is the first class."""
    rows = [(number % 2 + number / 100, -number / 100, "ab"[number % 2]) for number in range(40)]
    pandas.DataFrame(rows, columns=["x", "y", "kind"]).to_csv(tmp_path / "train.csv", index=False)
    bad = [*rows[:10], (3e37, 3e37, "a")]
    pandas.DataFrame(bad, columns=["x", "y", "kind"]).to_csv(tmp_path / "validation.csv", index=False)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "z.yaml").write_text(CONF)
    return tmp_path


@pytest.mark.parametrize("more", [(), ("decision.monitor=loss",), ("decision.on_nan=rollback", "rollback.fail_iterations=2")])
def test_a_loss_of_the_validation_set_ends_the_run(folder: Path, veles_run: Run, more: tuple[str, ...]) -> None:
    (line,) = veles_run("conf=z", *more, code=1).stderr.splitlines()
    assert "epoch 1" in line
    assert "validation" in line
    assert "nan" in line
    assert not list(folder.glob("outputs/**/*.pickle*")), "there was no good state"


def test_where_they_are_ignored_files_say_null_and_samples_are_named(folder: Path, veles_run: Run) -> None:
    told = veles_run("conf=z", "decision.on_nan=ignore", "hydra.run.dir=out").stdout
    assert told.count("the validation loss is nan") == 1
    assert all(", nan, rate " in line for line in told.splitlines() if line.startswith("Epoch "))
    snapshot = f"snapshot={next((folder / 'out').glob('*_current*'))}"
    scored = veles_run(snapshot, "mode=evaluate", "data=validation.csv", "output=scores.json", code=1)
    scores = json.loads((folder / "scores.json").read_text())["splits"]["data"]
    assert scores["samples"] == 10  # the others are scored
    assert scores["loss"] > 0
    veles_run(snapshot, "mode=evaluate", "output=own.json")
    own = json.loads((folder / "own.json").read_text())["errors"]["validation"]
    assert round(own * 11) == round(scores["error"] * 10) + 100  # which is an error of the run's own set
    predicted = veles_run(snapshot, "mode=predict", "data=validation.csv", "output=made.csv", code=1)
    for done in (scored, predicted):
        assert "no finite number for sample 10" in done.stdout + done.stderr
    assert list(pandas.read_csv(folder / "made.csv").iloc[:, 0].isna()) == [False] * 10 + [True]
    assert not (folder / "outputs").exists()


def test_a_score_that_decides_is_called_by_its_name(folder: Path, veles_run: Run) -> None:
    (folder / "own_score.py").write_text(
        "import torch, torchmetrics\n\n\nclass Nothing(torchmetrics.MeanMetric):\n"
        "    higher_is_better = True\n"
        "    def update(self, outputs, wanted):\n        super().update(torch.zeros(1))\n"
        "    def compute(self):\n        return torch.tensor(float('nan'))\n"
    )
    typed = ("scores.mine._target_=own_score.Nothing", "decision.monitor=mine")
    (line,) = veles_run("wine", "seed=1", *typed, code=1).stderr.splitlines()
    assert "the train mine is nan: " in line
    assert "mend scores.mine" in line
