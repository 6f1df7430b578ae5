"""Networks of two layers, computed in float64 from nothing but their weights, and compared with what our commands write."""

import json
import os
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import sklearn.metrics
import torch
import yaml

from runner import restore
from tests import forked
from tests.stress.rounds import Failure, Refused

Values = npt.NDArray[np.float64]
ACTIVATIONS: dict[str, Callable[[Values], Values]] = {
    "all2all_tanh": lambda values: 1.7159 * np.tanh(0.6666 * values),
    "all2all_relu": lambda values: np.maximum(values, 0),
    "all2all_sigmoid": lambda values: 0.5 + 0.5 * np.tanh(values / 2),
    "all2all": lambda values: values,
}
UNFIT = ("cannot tell apart", "the loss is infinite", "loss is nan", "loss is inf", "is not for tables with loader.categories")
"""What a training is refused for, which is right."""
LEAST = np.finfo(np.float32).tiny
"""A probability that is lower counts as this one in the loss."""
WRONG = 1
"""The exit code if a sample cannot be read."""


class Place:
    """A folder in which commands are typed."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.numbers = np.random.default_rng(rng.randrange(2**32))
        (folder / "conf").mkdir()

    def type(self, *words: str, code: int = 0, **places: str | Path) -> CompletedProcess[str]:
        with forked.Started(words, cwd=self.folder, **places) as started:
            done = started.end(300)
        if done.returncode != code:
            raise Failure(f"{words} ends with {done.returncode} instead of {code}: {done.stderr}")
        return done

    def train(self, loader: dict[str, Any], classes: bool, values: int) -> tuple[Path, list[tuple[str, Values, Values]]]:
        """Trains a network of two layers; returns its snapshot, and activation, weights and bias of its layers."""
        kind = self.rng.choice(list(ACTIVATIONS))
        last = {"type": "softmax"} if classes else {"type": "all2all", "output_sample_shape": values}
        rate = {"learning_rate": 0.1 if classes else 1e-4}
        conf = {
            "loader": {**loader, "minibatch_size": self.rng.choice((1, 7, 100))},
            "layers": {"hidden": {"type": kind, "output_sample_shape": 6, **rate}, "out": {**last, **rate}},
            "loss_function": "softmax" if classes else "mse",
            "decision": {"max_epochs": 2},
            "seed": self.rng.randrange(99),
            "precision": self.rng.choice(("float32", "float32", "float64")),
            "snapshotter": {"directory": "snapshots"},
        }
        (self.folder / "conf/net.yaml").write_text(yaml.safe_dump(conf, allow_unicode=True))
        done = forked.run(["net", "plotters=false", "report=false"], cwd=self.folder, environment=os.environ, timeout=300)
        if any(words in done.stderr for words in UNFIT):
            raise Refused
        if done.returncode:
            raise Failure(f"the training ends with {done.returncode}: {done.stderr}")
        path = self.folder / "snapshots/net_current.5.pickle.gz"
        layers = restore(path).workflow.forwards
        found = [layer.weights.double().numpy() for layer in layers], [layer.bias.double().numpy() for layer in layers]
        return path, list(zip((kind, ""), *found, strict=True))


@dataclass
class Known:
    """What is known of a run by the files that it has been given alone.

    Attributes:
        snapshot: the network.
        layers: activation, weights and bias.
        names: of the classes; none of values.
        normalized: maps the features of samples, a row each, as the training set tells.
    """

    snapshot: Path
    layers: list[tuple[str, Values, Values]]
    normalized: Callable[[Values], Values]
    names: list[str] = field(default_factory=list)

    def outputs(self, features: Values) -> Values:
        """Returns probabilities or values."""
        given = self.normalized(features.astype(np.float64))
        for kind, weights, bias in self.layers:
            given = given @ (weights.T if weights.shape[1] == given.shape[1] else weights) + bias
            given = ACTIVATIONS[kind or "all2all"](given)
        if self.names:
            given = np.exp(given - given.max(1, keepdims=True))
            given /= given.sum(1, keepdims=True)
        return given


def normalization(kind: str, training: Values, scaled: npt.NDArray[np.bool_] | None = None) -> Callable[[Values], Values]:
    """Returns what a normalization does to rows, by the table in docs/data.md."""
    training = training.astype(np.float64)
    kept = np.ones(training.shape[1], bool) if scaled is None else scaled
    low, high = training.min(0), training.max(0)
    every = training[:, kept]

    def mapped(rows: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            if kind == "standardize":
                spread = training.std(0)
                found = np.where(high > low, (rows - training.mean(0)) / np.where(high > low, spread, 1), 0)
            elif kind == "linear":
                found = (rows - every.min()) / (every.max() - every.min()) * 2 - 1
            elif kind == "range":
                found = (rows - every.min()) / (every.max() - every.min())
            elif kind == "pointwise":
                found = np.where(high > low, (rows - low) / np.where(high > low, high - low, 1) * 2 - 1, 0)
            elif kind == "samplewise":
                least, most = rows[:, kept].min(1, keepdims=True), rows[:, kept].max(1, keepdims=True)
                found = np.where(most > least, (rows - least) / (most - least) * 2 - 1, 0)
            elif kind == "mean_dispersion":
                found = np.where(high > low, (rows - training.mean(0)) / np.where(high > low, high - low, 1), 0)
            elif kind == "internal_mean":
                found = rows - training.mean(0)
            else:
                found = rows
        return np.where(kept, found, rows)

    return mapped


NORMALIZATIONS = ("standardize", "linear", "range", "samplewise", "pointwise", "mean_dispersion", "internal_mean", "none")


def predicted(place: Place, known: Known, data: str, code: int, **places: str | Path) -> pandas.DataFrame:
    """Types a prediction, and reads what it writes by pandas; numpy has an index for missing values."""
    form = place.rng.choice(("csv", "parquet", "npz", "-"))
    output = "-" if form == "-" else f"out.{form}"
    done = place.type(f"snapshot={known.snapshot}", "mode=predict", f"data={data}", f"output={output}", code=code, **places)
    path = place.folder / output
    if form == "parquet":
        return pandas.read_parquet(path)
    if form == "npz":
        with np.load(path) as arrays:
            return _of_arrays(arrays, known)
    if form == "-":
        path = place.folder / "stdout.csv"
        path.write_text(done.stdout)
    return pandas.read_csv(path, keep_default_na=False, na_values=[""], dtype={"class": str})


def _of_arrays(arrays: Any, known: Known) -> pandas.DataFrame:
    found: dict[str, Any] = {"file": arrays["file"]} if "file" in arrays else {}
    if known.names:
        values = arrays["probabilities"]
        found["class"] = arrays["class"].astype(str)
        found["probability"] = values.max(1)
        found |= {f"p({name})": values[:, number] for number, name in enumerate(known.names)}
    else:
        values = arrays["values"]
        found |= {str(number): column for number, column in enumerate(values.reshape(len(values), -1).T)}
    return pandas.DataFrame(found)


def compare(known: Known, written: pandas.DataFrame, wanted: Values, broken: list[int]) -> None:
    """Compares predictions with what they should be, of rows that could be read; the others must be empty."""
    if len(written) != len(wanted):
        raise Failure(f"{len(written)} predictions of {len(wanted)} samples")
    whole = np.setdiff1d(np.arange(len(wanted)), broken)
    values = written.drop(columns=["file"], errors="ignore")
    if known.names:
        names = list(values.columns)
        if names != ["class", "probability", *(f"p({name})" for name in known.names)]:
            raise Failure(f"columns {names} of classes {known.names}")
        given = values.iloc[:, 2:].to_numpy(np.float64)
        classes = [known.names[number] for number in given[whole].argmax(1)]
        if list(values["class"].astype(str).to_numpy()[whole]) != classes:
            raise Failure(f"classes {list(values['class'])} of probabilities {given.tolist()}")
        if not np.array_equal(values["probability"].to_numpy(np.float64)[whole], given[whole].max(1)):
            raise Failure("the probability is not that of the class")
        if not all(value == "" or pandas.isna(value) for value in values["class"].iloc[broken]):
            raise Failure(f"what could not be read has a class: {values.iloc[broken]}")
    else:
        given = values.to_numpy(np.float64)
    if not np.isnan(given[broken]).all():
        raise Failure(f"what could not be read has predictions: {given[broken]}")
    if not np.allclose(given[whole], wanted[whole], rtol=2e-4, atol=2e-4):
        raise Failure(f"{given[whole][:5].tolist()} is written instead of {wanted[whole][:5].tolist()}")


def scored(place: Place, known: Known, data: str, code: int, outputs: Values, answers: Any) -> None:
    """Types an evaluation, and compares its scores with those of scikit-learn.

    Args:
        place: where.
        known: the network.
        data: the data that can be read and have an answer, and others.
        code: the exit code.
        outputs: what the network gives for those that can be scored.
        answers: their names of classes, or values.
    """
    place.type(f"snapshot={known.snapshot}", "mode=evaluate", f"data={data}", "output=scores.json", code=code)
    told = json.loads((place.folder / "scores.json").read_text())["splits"]["data"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = _class_scores(known.names, outputs, answers) if known.names else _value_scores(outputs, answers)
    wanted["samples"] = len(answers)
    for name, value in wanted.items():
        given = told[name]
        if isinstance(value, list):
            same = given["matrix"] == value
        elif given is None or not np.isfinite(value):
            same = given is None and not np.isfinite(value)
        else:
            same = bool(np.isclose(given, value, rtol=2e-3, atol=2e-4))
        if not same:
            raise Failure(f"{name} is {given} instead of {value}")


def _class_scores(names: list[str], outputs: Values, answers: list[str]) -> dict[str, Any]:
    given = [names[number] for number in outputs.argmax(1)]
    numbers = [names.index(answer) for answer in answers]
    return {
        "accuracy": sklearn.metrics.accuracy_score(answers, given),
        "error": 100 * sklearn.metrics.zero_one_loss(answers, given),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(answers, given),
        "macro_f1": sklearn.metrics.f1_score(answers, given, average="macro"),
        "loss": float(-np.log(np.maximum(LEAST, outputs[range(len(numbers)), numbers])).mean()),
        "confusion": sklearn.metrics.confusion_matrix(answers, given, labels=names).tolist(),
    }


def _value_scores(outputs: Values, answers: Values) -> dict[str, Any]:
    one = len(answers) < 2
    return {
        "rmse": float(np.sqrt(np.square(outputs - answers).mean())),
        "mae": float(np.abs(outputs - answers).mean()),
        "r2": np.nan if one else sklearn.metrics.r2_score(answers, outputs, multioutput="variance_weighted"),
    }


def check_model(known: Known, samples: Any, outputs: Values) -> None:
    """Compares what the module of torch gives, and the exported network, with what they should."""
    model = restore(known.snapshot).model()
    given = model(torch.from_numpy(samples.reshape(-1, *model.signature.input_shape))).detach().numpy().reshape(outputs.shape)
    if not np.allclose(given, outputs, rtol=2e-4, atol=2e-4):
        raise Failure(f"the module gives {given[:3].tolist()} instead of {outputs[:3].tolist()}")
    if known.names and model.classify(torch.from_numpy(samples)) != [known.names[number] for number in outputs.argmax(1)]:
        raise Failure("the module has other classes")


def check_own_sets(place: Place, known: Known, outputs: Values, answers: Any) -> None:
    """Compares the scores of the run's own validation set."""
    place.type("net", f"snapshot={known.snapshot}", "mode=evaluate", "output=scores.json")
    told = json.loads((place.folder / "scores.json").read_text())
    if known.names:
        wrong = sum(known.names[number] != answer for number, answer in zip(outputs.argmax(1), answers, strict=True))
        wanted, unsure = 100 * wrong / len(answers), 100 * (1 - sure(outputs).mean())
    else:
        wanted, unsure = float(np.sqrt(np.square(outputs - answers).mean())), 0.0
    if not abs(told["errors"]["validation"] - wanted) <= unsure + 2e-3 * abs(wanted) + 2e-4:
        raise Failure(f"the error of the validation set is {told['errors']['validation']} instead of {wanted}")


def sure(outputs: Values) -> npt.NDArray[np.bool_]:
    """Returns which samples have a class that rounding does not change."""
    best = np.sort(outputs, axis=1)
    return best[:, -1] - best[:, -2] > 1e-3
