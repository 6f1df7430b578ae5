"""`mode=evaluate`: what is typed says what is scored, or is refused by its name."""

import random
import re
from pathlib import Path

import pytest

from tests.conftest import Run

CONF = """# @package _global_
loader: {name: table, data_file: tr.csv, validation_file: va.csv, label: label, normalization: pointwise, minibatch_size: 20}
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 8, learning_rate: 0.05}
  out: {type: softmax, output_sample_shape: 2, learning_rate: 0.05}
decision: {max_epochs: 2}
snapshotter: {directory: snapshots}
"""
SETS = """
import torch

class Points(torch.utils.data.Dataset):
    def __init__(self, seed, noise=1.0):
        drawn = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(2, (60,), generator=drawn)
        self.points = self.labels[:, None] * 3 + noise * torch.randn(60, 2, generator=drawn)

    def __len__(self):
        return 60

    def __getitem__(self, index):
        return self.points[index], int(self.labels[index])
"""


def write_table(path: Path, seed: int, rows: int, header: str = "a,b,label", names: tuple[str, str] = ("cat", "dog")) -> None:
    drawn = random.Random(seed)
    lines = [f"{drawn.gauss(i % 2 * 3, 1)},{drawn.gauss(-(i % 2) * 3, 1)},{names[i % 2]}\n" for i in range(rows)]
    path.write_text(f"{header}\n" + "".join(lines))


@pytest.fixture(autouse=True)
def tables(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(CONF)
    for number, (name, rows) in enumerate({"tr": 200, "va": 60, "other": 50}.items(), 1):
        write_table(tmp_path / f"{name}.csv", number, rows)


def score(output: str) -> str:
    """The score in the last line of an evaluation."""
    return re.search(r": validation (\S+) %\n\Z", output)[1]


def snapshot_of(output: str) -> str:
    return re.findall(r"^Snapshot written: (\S+) ", output, re.MULTILINE)[-1]


def test_other_data_are_scored(veles_run: Run, tmp_path: Path) -> None:
    """What a network scores on a file is what a run says of it that has the file as its validation set."""
    trained = veles_run("conf=c", "seed=1", "loader.validation_file=other.csv", "snapshotter.directory=twin").stdout
    expected = re.search(r"^Epoch 2: .*validation (\S+) %", trained, re.MULTILINE)[1]
    last = snapshot_of(veles_run("conf=c", "seed=1").stdout)
    own = re.search(r"validation_([\d.]+)_", last)[1]
    assert own != expected
    assert score(veles_run(f"snapshot={last}", "mode=evaluate").stdout) == own
    for typed in (
        [f"snapshot={last}", "loader.validation_file=other.csv"],
        ["conf=c", "snapshot=latest", "snapshotter.directory=snapshots", "loader={validation_file: other.csv}"],
        ["conf=c", "snapshot=auto", "loader.validation_file=other.csv", "loader.minibatch_size=7", "decision.max_epochs=2"],
    ):
        assert score(veles_run(*typed, "mode=evaluate").stdout) == expected
    # Only some of the samples; the training set no longer matters.
    write_table(tmp_path / "tr.csv", 9, 20)
    half = veles_run(
        f"snapshot={last}", "mode=evaluate", "loader.validation_file=other.csv", "loader.validation_size=25"
    ).stdout
    assert float(score(half)) % 4 == 0
    refused = veles_run(f"snapshot={last}", "mode=evaluate", code=2).stderr
    assert "restore.allow_changed_data" in refused
    (tmp_path / "tr.csv").unlink()
    assert score(veles_run(f"snapshot={last}", "mode=evaluate", "loader.validation_file=other.csv").stdout) == expected


def test_what_has_nothing_to_do_with_scores_is_refused_by_its_name(veles_run: Run, tmp_path: Path) -> None:
    last = snapshot_of(veles_run("conf=c", "seed=1").stdout)
    write_table(tmp_path / "owl.csv", 4, 30, names=("cat", "owl"))
    write_table(tmp_path / "bare.csv", 4, 30, header="a,b,class")
    refused = {
        "loader.validation_file=nope.csv": "loader.validation_file='nope.csv' is not a file",
        "loader.validation_file=owl.csv": "the label 'owl' is not in the training set",
        "loader.validation_file=bare.csv": "lacks 'label'",
        "loader.validation_size=-1": "loader.validation_size=-1",
        "loader.minibatch_size=0": "loader.minibatch_size=0",
        "loader.normalization=none": "loader.normalization",
        "loader.name=wine": "loader.name",
        "layers.fc1.learning_rate=3": "layers.fc1.learning_rate",
        "~layers.fc1": "~layers.fc1",
        "optimizer._target_=torch.optim.SGD": "optimizer._target_",
        "decision.max_epochs=9": "decision.max_epochs",
        "seed=2": "seed",
        "loader.data_file=va.csv": "loader.data_file changes nothing",
        "loader.train_size=5": "loader.train_size changes nothing",
        "loader.split_seed=3": "loader.split_seed changes nothing without loader.validation_ratio",
        "data=unlabeled.csv": "there is nothing to score",
    }
    (tmp_path / "unlabeled.csv").write_text("a,b,label\n1,2,\n")
    for typed, expected in refused.items():
        done = veles_run("conf=c", f"snapshot={last}", "mode=evaluate", typed, code=2)
        (line,) = done.stderr.splitlines()
        assert line.startswith("veles-run: ")
        assert expected in line
        assert "validation 0" not in done.stdout
    for of_runs in ("plotters=true", "loggers.mlflow.experiment=x", "graph=g.dot"):
        assert of_runs in veles_run("-w", last, "mode=evaluate", of_runs, code=2).stderr
    assert "snapshotter.directory" in veles_run("-w", last, "mode=evaluate", "snapshotter.directory=x", code=2).stderr


def test_other_datasets_are_scored(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "sets.py").write_text(SETS)
    (tmp_path / "conf" / "d.yaml").write_text(
        re.sub(
            "loader:.*",
            "loader: {name: dataset, minibatch_size: 20, train: {_target_: sets.Points, seed: 1}}",
            CONF.replace("snapshots}", "sets}"),
        )
    )
    with_set = ["loader.validation._target_=sets.Points", "loader.validation.seed=2"]
    noisy = ["loader.validation._target_=sets.Points", "loader.validation.seed=3", "loader.validation.noise=4"]
    trained = veles_run("conf=d", "seed=1", *noisy, "snapshotter.directory=twin").stdout
    expected = re.search(r"^Epoch 2: .*validation (\S+) %", trained, re.MULTILINE)[1]
    last = snapshot_of(veles_run("conf=d", "seed=1", *with_set).stdout)
    assert expected not in last
    for typed in (noisy, noisy[1:]):
        assert score(veles_run("conf=d", f"snapshot={last}", "mode=evaluate", *typed).stdout) == expected


def test_other_data_take_the_place_of_a_share_of_the_training_data(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf" / "share.yaml").write_text(CONF.replace("validation_file: va.csv", "validation_ratio: 0.25"))
    last = snapshot_of(veles_run("share", "seed=1", "plotters=false").stdout)
    (tmp_path / "same.csv").write_text((tmp_path / "other.csv").read_text())
    scores = [
        score(veles_run(f"snapshot={last}", "mode=evaluate", *more).stdout)
        for more in (["loader.validation_file=other.csv"], ["loader.validation_file=same.csv", "loader.validation_ratio=null"])
    ]
    assert scores[0] == scores[1]
    # Another share has samples that were trained on.
    drawn = veles_run(f"snapshot={last}", "mode=evaluate", "loader.split_seed=3").stdout
    assert "The validation set is drawn anew (loader.split_seed)" in drawn
