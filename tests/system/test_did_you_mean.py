"""A name that is nearly right: the message says which one is meant, wherever the name stands."""

from pathlib import Path

import pytest

from tests.conftest import Run
from tests.system.test_evaluate import CONF, write_table

OWN = """
from runner import Workflow

class Walk(Workflow):
    def __init__(self, steps: int = 3, width: float = 1.0):
        super().__init__()
"""
TYPED = {
    "decision.max_epoch=3": "max_epochs",
    "decison.max_epochs=3": "decision",
    "max_epochs=3": "decision.max_epochs",
    "learning_rate=1": "layers.NAME.learning_rate",
    "datafile=x": "loader.data_file",
    "loader.max_epochs=3": "decision.max_epochs",
    "layers.fc11.learning_rate=1": "fc1",
    "layers.fc1.learnin_rate=1": "learning_rate",
    "layers.fc1.type=all2al_tanh": "all2all_tanh",
    "layers.fc1.type=RELU": "all2all_relu",
    "layers.fc1.weights_filling=gausian": "gaussian",
    "lr_adjuster.policy=cosin": "cosine",
    "loader.name=tabel": "table",
    "loader.normalization=standardise": "standardize",
    "loader.label=lable": "label",
    "mode=evalute": "evaluate",
    "restore.trust=ful": "full",
    "snapshotter.compression=gzip": "gz",
    "snapshotter.on_error=wan": "warn",
    "snapshotter.on_signal.USR11=stop": "USR1",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "boats.yaml").write_text(CONF)
    for seed, name in enumerate(("tr", "va"), 1):
        write_table(tmp_path / f"{name}.csv", seed, 60)


def told(veles_run: Run, *arguments: str) -> str:
    (line,) = veles_run(*arguments, code=2).stderr.splitlines()
    assert line.startswith("veles-run: ")
    return line


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed(typed: str, veles_run: Run) -> None:
    assert f"did you mean {TYPED[typed]!r}" in told(veles_run, "conf=boats", typed)


def test_nothing_near_is_meant(veles_run: Run) -> None:
    for typed in ("decision.qqqq=3", "loader.name=zzz"):
        assert "did you mean" not in told(veles_run, "conf=boats", typed)


def test_names_of_confs_and_what_is_in_them(veles_run: Run, tmp_path: Path) -> None:
    assert "did you mean 'boats'" in told(veles_run, "conf=boatz")
    assert "did you mean 'mnist'" in told(veles_run, "conf=MNITS")
    for wrong, right in {"minibatch_size": "minibatch_sise", "max_epochs": "max_epoch", "layers": "layer"}.items():
        (tmp_path / "conf" / "typo.yaml").write_text(CONF.replace(wrong, right))
        line = told(veles_run, "conf=typo")
        assert f"did you mean {wrong!r}" in line
        assert "conf/typo" in line


def test_units_of_ones_own(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "walk.py").write_text(OWN)
    (tmp_path / "conf" / "w.yaml").write_text("# @package _global_\nworkflow: {_target_: walk.Walk}\n")
    assert "did you mean 'steps'" in told(veles_run, "conf=w", "workflow.step=3")
    assert "did you mean 'Walk'" in told(veles_run, "conf=w", "workflow._target_=walk.Wlak")
    assert "did you mean 'AdamW'" in told(
        veles_run,
        "conf=boats",
        "layers={fc1: null}",
        "layers.fc1={type: softmax, output_sample_shape: 2}",
        "~layers.out",
        "optimizer._target_=torch.optim.AdamWW",
    )
