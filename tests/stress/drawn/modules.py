"""Modules of torch with losses and metrics of all kinds, on a Dataset: computed by torch alone, scored by scikit-learn."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.metrics
import torch
import yaml

from runner import restore
from tests.stress.drawn import points
from tests.stress.drawn.by_numpy import Place, Values
from tests.stress.rounds import Failure


@dataclass(frozen=True)
class Kind:
    """A loss, and what its outputs are.

    Attributes:
        loss: its name in torch.nn.
        given: how probabilities are made of the outputs; None of values.
        one: whether two classes are told apart by one output.
        last: the last layer of the network.
        settings: of the loss.
    """

    loss: str
    given: str | None = None
    one: bool = False
    last: str = ""
    settings: tuple[dict[str, Any], ...] = ({},)


KINDS = (
    Kind("CrossEntropyLoss", "softmax", settings=({}, {"label_smoothing": 0.2}, {"weight": "balanced"})),
    Kind("MultiMarginLoss", "softmax"),
    Kind("NLLLoss", "exp", last="log"),
    Kind("BCEWithLogitsLoss", "sigmoid", one=True, settings=({}, {"pos_weight": [2.0]})),
    Kind("BCELoss", "", one=True, last="sigmoid"),
    Kind("MSELoss", "", one=True, last="sigmoid"),
    *(Kind(name) for name in ("MSELoss", "L1Loss", "SmoothL1Loss")),
    Kind("HuberLoss", settings=({"delta": 0.3}, {})),
)


def _probabilities(kind: Kind, outputs: Values) -> Values:
    if kind.given == "softmax":
        outputs = torch.softmax(torch.from_numpy(outputs), 1).numpy()
    elif kind.given == "exp":
        outputs = np.exp(outputs)
    elif kind.given == "sigmoid":
        outputs = 1 / (1 + np.exp(-outputs))
    return np.column_stack([1 - outputs, outputs]) if kind.one else outputs


def _same(what: str, given: float | None, wanted: float, unsure: float = 0.0) -> None:
    if given is None or not abs(given - wanted) <= unsure + 2e-3 * abs(wanted) + 2e-4:
        raise Failure(f"{what} is {given} instead of {wanted}")


def use_module(place: Place) -> str:
    """Trains a module, and scores it on the run's own validation set and on others."""
    rng = place.rng
    kind = rng.choice(KINDS)
    classes = 0 if kind.given is None else 2 if kind.one else rng.randint(2, 4)
    targets = 0 if classes else rng.randint(1, 3)
    width, norm = rng.randint(1, 5), rng.choice(("batch", "layer", "none"))
    data = {"_target_": f"{points.__name__}.Points", "width": width, "classes": classes, "targets": targets}
    net = {"width": width, "outputs": 1 if kind.one else classes or targets, "norm": norm, "last": kind.last}
    task = {"task": "binary"} if classes == 2 and kind.one else {"task": "multiclass", "num_classes": classes}
    scores = (
        {"far": {"_target_": "torchmetrics.MeanAbsoluteError"}}
        if targets
        else {"f1": {"_target_": "torchmetrics.F1Score", **task, **({} if kind.one else {"average": "macro"})}}
    )
    settings = dict(rng.choice(kind.settings))
    conf = {
        "loader": {
            "name": "dataset",
            "train": {**data, "count": 40, "seed": 1},
            "validation": {**data, "count": 30, "seed": 2},
            "normalization": "none",
            "minibatch_size": rng.choice((8, 10, 100)),
        },
        "model": {"_target_": f"{points.__name__}.Net", **net},
        "loss": {"_target_": f"torch.nn.{kind.loss}", **settings},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.05},
        "scores": scores,
        "decision": {"max_epochs": 2},
        "seed": rng.randrange(99),
        "snapshotter": {"directory": "snapshots"},
        **({"ema": 0.9} if rng.random() < 0.3 else {}),
        "precision": rng.choice(("float32", "float64")),
    }
    (place.folder / "conf/net.yaml").write_text(yaml.safe_dump(conf))
    place.type("net", "plotters=false", "report=false")
    snapshot = place.folder / "snapshots/net_current.5.pickle.gz"
    module = points.Net(**net).double().eval()
    weights = restore(snapshot, trusted=[points.__name__]).model().state_dict()
    module.load_state_dict(
        {name.rpartition("module.")[2]: value.double() for name, value in weights.items() if "module." in name}
    )
    for name, count, seed in (("validation", 30, 2), ("data", rng.choice((1, 9, 50)), 3)):
        items = points.Points(count, seed, width, classes, targets)
        with torch.no_grad():
            outputs = module(items.points.double()).numpy()
        answers = items.labels.numpy() if classes else items.targets.numpy().astype(np.float64)
        words: tuple[str, ...] = ()
        if name == "data":
            np.savez(place.folder / "new.npz", data=items.points.numpy(), **{"labels" if classes else "targets": answers})
            words = ("data=new.npz",)
        place.type("net", f"snapshot={snapshot}", "mode=evaluate", "output=scores.json", *words)
        told = json.loads((place.folder / "scores.json").read_text())["splits"][name]
        if classes:
            _check_classes(kind, told, _probabilities(kind, outputs), answers)
        else:
            _check_values(kind, told, outputs, answers)
        if name == "validation" and (targets or kind.loss != "CrossEntropyLoss" or "weight" not in settings):
            _check_loss(kind, told, settings, outputs, answers)
    return f"a module with {kind.loss}"


def _check_classes(kind: Kind, told: dict[str, Any], given: Values, labels: Any) -> None:
    best = np.sort(given, axis=1)
    unsure = float((best[:, -1] - best[:, -2] < 1e-3).mean())
    answers = given.argmax(1)
    _same("the error", told["error"], 100 * float((answers != labels).mean()), 100 * unsure)
    if unsure:
        return
    count = given.shape[1]
    if told["confusion"]["matrix"] != sklearn.metrics.confusion_matrix(labels, answers, labels=range(count)).tolist():
        raise Failure(f"confusion {told['confusion']}")
    wanted = sklearn.metrics.f1_score(labels, answers, zero_division=0, **({} if kind.one else {"average": "macro"}))
    _same("f1", told["scores"]["f1"], wanted)
    _same("macro_f1", told["macro_f1"], sklearn.metrics.f1_score(labels, answers, average="macro", zero_division=0))


def _check_values(kind: Kind, told: dict[str, Any], outputs: Values, targets: Values) -> None:
    _same("the mean absolute error", told["scores"]["far"], float(np.abs(outputs - targets).mean()))
    if "rmse" in told:
        _same("rmse", told["rmse"], float(np.sqrt(np.square(outputs - targets).mean())))
    if "mae" in told:
        _same("mae", told["mae"], float(np.abs(outputs - targets).mean()))


def _check_loss(kind: Kind, told: dict[str, Any], settings: dict[str, Any], outputs: Values, answers: Any) -> None:
    """Compares the loss, which is a mean over samples for each that weighs them alike."""
    settings = {name: torch.tensor(value) if isinstance(value, list) else value for name, value in settings.items()}
    wanted = torch.from_numpy(answers)
    if kind.one:
        wanted = wanted.double()[:, None]
    loss = getattr(torch.nn, kind.loss)(**settings)(torch.from_numpy(outputs), wanted)
    _same("the loss", told["loss"], float(loss))
