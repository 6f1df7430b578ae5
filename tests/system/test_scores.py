"""`mode=evaluate data=...`: scores of new data are those of sklearn, in tables and as JSON."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from runner.use.scores import ClassScores, ValueScores
from tests.conftest import Run
from tests.data import write_images
from tests.system.test_predict import CONF, PICTURES, VALUES, read, trained, write

CATEGORIES = "color,kind,b,a"


def test_a_classification(veles_run: Run, tmp_path: Path) -> None:
    write(tmp_path / "va.csv", 70)
    write(tmp_path / "tr.csv", 90)
    snapshot = f"snapshot={trained(veles_run, tmp_path, CONF.replace('validation_ratio: 0.2', 'validation_file: va.csv'))}"
    write(tmp_path / "tr.csv", 90)
    own = veles_run(snapshot, "mode=evaluate", "output=own.json").stdout.splitlines()[-1]
    (tmp_path / "tr.csv").unlink()
    rows = write(tmp_path / "va.csv", 70, CATEGORIES)
    done = veles_run(snapshot, "mode=evaluate", "data=va.csv", "output=out.json").stdout
    assert done.splitlines()[-1].split()[-2:] == own.split()[-2:]  # the same samples, the same error
    assert "\x1b" not in done
    veles_run(snapshot, "mode=predict", "data=va.csv", "output=p.csv")
    right, answers = [row["kind"].replace("\x1b", "\\x1b") for row in rows], [row["class"] for row in read(tmp_path / "p.csv")]
    outputs = np.array([[*row.values()][2:] for row in read(tmp_path / "p.csv")], np.float64)
    outputs /= outputs.sum(1, keepdims=True)
    told = json.loads((tmp_path / "out.json").read_text())["splits"]["data"]
    names = told["confusion"]["names"]
    assert told["confusion"]["matrix"] == metrics.confusion_matrix(right, answers, labels=names).tolist()
    precision, recall, f1, samples = metrics.precision_recall_fscore_support(right, answers, labels=names, zero_division=np.nan)
    for number, item in enumerate(told["classes"]):
        assert item["name"] == names[number]
        assert item["samples"] == samples[number]
        for key, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            assert item[key] is None or abs(item[key] - value[number]) < 1e-12
    assert abs(told["loss"] - metrics.log_loss(right, outputs, labels=names)) < 1e-5
    assert abs(told["balanced_accuracy"] - metrics.balanced_accuracy_score(right, answers)) < 1e-12
    assert abs(told["macro_f1"] - metrics.f1_score(right, answers, average="macro")) < 1e-12
    # An evaluation of the run's own set says the same.
    found = json.loads((tmp_path / "own.json").read_text())
    assert found["splits"]["validation"]["confusion"] == told["confusion"]
    assert abs(found["errors"]["validation"] - told["error"]) < 1e-9
    # Classes that the training set has not, and what is damaged.
    lines = (tmp_path / "va.csv").read_text().splitlines()
    (tmp_path / "va.csv").write_text("\n".join([*lines, "red,emu,1,2", "red,owl,x,2"]) + "\n")
    done = veles_run(snapshot, "mode=evaluate", "data=va.csv", "output=out.json", code=1).stdout
    assert any("line 72" in line and "emu" in line for line in done.splitlines())
    assert json.loads((tmp_path / "out.json").read_text())["splits"]["data"] == told
    assert "kind" in veles_run(snapshot, "mode=evaluate", "data=p.csv", code=2).stderr
    assert "o.csv" in veles_run(snapshot, "mode=evaluate", "data=va.csv", "output=o.csv", code=2).stderr


def test_values(veles_run: Run, tmp_path: Path) -> None:
    write(tmp_path / "tr.csv", 60)
    snapshot = f"snapshot={trained(veles_run, tmp_path, VALUES)}"
    rows = write(tmp_path / "new.csv", 40)
    veles_run(snapshot, "mode=predict", "data=new.csv", "output=p.csv")
    assert re.search(r"\br2 .* [0-9.-]+", veles_run(snapshot, "mode=evaluate", "data=new.csv", "output=out.json").stdout)
    told = json.loads((tmp_path / "out.json").read_text())["splits"]["data"]
    names = [item["name"] for item in told["values"]]
    right, given = ([[float(row[name]) for name in names] for row in table] for table in (rows, read(tmp_path / "p.csv")))
    assert abs(told["r2"] - metrics.r2_score(right, given, multioutput="variance_weighted")) < 1e-6
    for item in told["values"]:
        right, given = ([float(row[item["name"]]) for row in table] for table in (rows, read(tmp_path / "p.csv")))
        assert abs(item["r2"] - metrics.r2_score(right, given)) < 1e-6
        assert abs(item["mae"] - metrics.mean_absolute_error(right, given)) < 1e-6
        assert abs(item["rmse"] - metrics.mean_squared_error(right, given) ** 0.5) < 1e-6


def test_values_that_are_large_and_close_together_have_their_r2() -> None:
    rng = np.random.default_rng(0)
    right = 1.7e9 + rng.normal(size=(500, 1))
    given = right + 0.1 * rng.normal(size=right.shape)
    scores = ValueScores(["time"])
    for begin in range(0, len(right), 64):
        scores.add(given[begin : begin + 64], right[begin : begin + 64])
    assert scores.told()["r2"] == pytest.approx(metrics.r2_score(right, given), abs=1e-9)


def test_a_loss_of_ones_own_is_the_one_that_the_run_has_told(veles_run: Run, tmp_path: Path) -> None:
    write(tmp_path / "tr.csv", 60)
    conf = VALUES.replace(
        "loss_function: mse", "loss: {_target_: torch.nn.L1Loss}\noptimizer: {_target_: torch.optim.SGD, lr: 0.1}"
    )
    conf += "scores: {far: {_target_: torchmetrics.MeanAbsoluteError}}\n"
    snapshot = f"snapshot={trained(veles_run, tmp_path, conf.replace(', learning_rate: 0.01', ''))}"
    rows = write(tmp_path / "new.csv", 33)
    veles_run(snapshot, "mode=predict", "data=new.csv", "output=p.csv")
    trust = "restore.trusted=[torchmetrics]"
    output = veles_run(snapshot, trust, "mode=evaluate", "data=new.csv", "output=out.json").stdout
    told = json.loads((tmp_path / "out.json").read_text())
    names = list(read(tmp_path / "p.csv")[0])
    given = np.array([[float(row[name]) for name in names] for row in read(tmp_path / "p.csv")])
    wanted = np.array([[float(row[name]) for name in names] for row in rows])
    mean = metrics.mean_absolute_error(wanted, given)
    for value in (told["errors"]["data"], told["splits"]["data"]["loss"], told["splits"]["data"]["scores"]["far"]):
        assert abs(value - mean) < 1e-5 * mean
    assert f"new.csv loss {mean:.3f}" in output


def test_images_and_autoencoders(veles_run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "pics")
    auto = PICTURES.replace("{out: {type: softmax", "{out: {type: all2all, output_sample_shape: 90") + "loss_function: mse\n"
    for conf, folder in ((PICTURES, "classes"), (auto, "auto")):
        snapshot = trained(veles_run, tmp_path, conf.replace("directory: s", f"directory: {folder}"), folder)
        done = veles_run(f"snapshot={snapshot}", "mode=evaluate", "data=pics", "output=out.json").stdout
        assert "pics" in done.splitlines()[-1]
        told = json.loads((tmp_path / "out.json").read_text())["splits"]["data"]
        assert told["samples"] == 16
        if folder == "classes":
            assert [item["samples"] for item in told["classes"]] == [8, 8]
            assert told["confusion"]["names"] == ["cat", "dog"]
    (tmp_path / "pics" / "dog").rename(tmp_path / "pics" / "emu")
    snapshot = f"snapshot={next((tmp_path / 'classes').glob('*current*'))}"
    named = veles_run(snapshot, "mode=evaluate", "data=pics", "output=out.json", code=1).stdout
    assert len(re.findall(r"emu/.*png' is of a class which the training set has not", named)) == 8
    assert json.loads((tmp_path / "out.json").read_text())["splits"]["data"]["samples"] == 8


def test_further_metrics_of_the_run(veles_run: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    table = np.round(random.normal(size=(90, 3)), 4)
    rows = [f"{a},{b},{c},{'yes' if a + b * c > 0 else 'no'}" for a, b, c in table.tolist()]
    (tmp_path / "tr.csv").write_text("a,b,c,right\n" + "\n".join(rows[:50]) + "\n")
    (tmp_path / "new.csv").write_text("a,b,c,right\n" + "\n".join(rows[50:]) + "\n")
    (tmp_path / "two.yaml").write_text("""
loader: {name: table, data_file: tr.csv, label: right, validation_ratio: 0.2, minibatch_size: 7}
layers: {out: {type: all2all, output_sample_shape: 1}}
loss: {_target_: torch.nn.BCEWithLogitsLoss}
optimizer: {_target_: torch.optim.SGD, lr: 0.1}
scores: {auroc: {_target_: torchmetrics.AUROC, task: binary}, brier: {_target_: torchmetrics.MeanSquaredError}}
decision: {max_epochs: 2}
""")
    veles_run("./two.yaml", "hydra.run.dir=out")
    snapshot = f"snapshot={next((tmp_path / 'out').glob('*current*'))}"
    veles_run(snapshot, "mode=predict", "data=new.csv", "output=p.csv")
    done = veles_run("./two.yaml", snapshot, "mode=evaluate", "data=new.csv", "output=out.json").stdout
    right = [row.endswith("yes") for row in rows[50:]]
    given = [float(row["p(yes)"]) for row in read(tmp_path / "p.csv")]
    told = json.loads((tmp_path / "out.json").read_text())["splits"]["data"]["scores"]
    assert abs(told["auroc"] - metrics.roc_auc_score(right, given)) < 1e-6
    assert abs(told["brier"] - metrics.brier_score_loss(right, given)) < 1e-6
    assert f"{told['auroc']:.4f}" in next(line for line in done.splitlines() if "scores.auroc" in line)
    # Of the run's own sets, it is what the log of the run has.
    veles_run("./two.yaml", snapshot, "mode=evaluate", "output=own.json")
    told = json.loads((tmp_path / "own.json").read_text())["splits"]["validation"]
    row = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (row["split"], row["epoch"], told["samples"]) == ("validation", 2, 10)
    assert {"auroc": row["auroc"], "brier": row["brier"]} == told["scores"]
    assert (told["loss"], told["error"]) == (row["loss"], row["error"])
    # A metric whose class nobody names now is left out, and told of.
    assert "scores.auroc is left out" in veles_run(snapshot, "mode=evaluate", "data=new.csv").stdout


def test_the_means_are_those_of_sklearn_where_classes_are_missing() -> None:
    labels, answers = np.array([0, 0, 1, 1, 1]), np.array([0, 3, 1, 0, 1])
    scores = ClassScores(("a", "b", "c", "d"))  # no sample is of the last two, and one answer is
    scores.add(np.eye(4)[answers], labels)
    told = scores.told()
    assert abs(told["macro_f1"] - metrics.f1_score(labels, answers, average="macro")) < 1e-12
    assert abs(told["balanced_accuracy"] - metrics.recall_score(labels, answers, labels=[0, 1], average="macro")) < 1e-12


PAIRS = """
from torch.utils.data import Dataset
import numpy as np

class Pairs(Dataset):
    def __init__(self, n=40, seed=0):
        self.x = np.random.default_rng(seed).normal(size=(n, 2)).astype("f4")
    def __len__(self):
        return len(self.x)
    def __getitem__(self, index):
        return self.x[index], 3 * self.x[index] + 2
"""


def test_targets_of_the_size_of_a_sample_are_those_of_the_data(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "pairs.py").write_text(PAIRS)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "pairs.yaml").write_text(
        "loader: {name: dataset, train: {_target_: pairs.Pairs}, validation: {_target_: pairs.Pairs, n: 20, seed: 1}}\n"
        "loss_function: mse\nlayers: {out: {type: all2all, output_sample_shape: 2, learning_rate: 0.05}}\n"
    )
    veles_run("pairs", "seed=1", "decision.max_epochs=3", "hydra.run.dir=run")
    data = np.random.default_rng(1).normal(size=(20, 2)).astype("f4")
    np.savez(tmp_path / "both.npz", data=data, targets=3 * data + 2)
    np.savez(tmp_path / "alone.npz", data=data)
    right = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["RMSE"]
    evaluate = ("pairs", "snapshot=run/pairs_current.5.pickle.gz", "mode=evaluate", "output=out.json")
    veles_run(*evaluate)
    assert json.loads((tmp_path / "out.json").read_text())["splits"]["validation"]["rmse"] == right
    veles_run(*evaluate, "data=both.npz")
    assert json.loads((tmp_path / "out.json").read_text())["splits"]["data"]["rmse"] == pytest.approx(right, abs=1e-6)
    assert "compared with the samples themselves" in veles_run(*evaluate, "data=alone.npz").stdout
