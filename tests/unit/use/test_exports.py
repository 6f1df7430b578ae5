"""Exported networks, read and run by the programs that they are for."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

from runner.errors import ConfigError, RunError
from runner.nn.loading.samples import TRAIN
from runner.use.exports import FORMATS, export
from tests.networks import trained
from tests.unit.nn import test_inference  # noqa: F401 its loaders
from tests.unit.nn.test_state_types import NETWORKS

SETTINGS = {
    **{
        name: NETWORKS[name] | {"decision_config": {"max_epochs": 1}} for name in ("images", "all others", "mean squared error")
    },
    "samplewise pixels": {"loader_name": "pixels", "loader_config": {"minibatch_size": 8, "normalization": "samplewise"}},
}


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_exported_computes_the_same(name: str, ending: str, tmp_path: Path) -> None:
    workflow = trained(None, **SETTINGS[name])
    model, path = workflow.as_model(), tmp_path / f"net{ending}"
    samples = torch.from_numpy(workflow.loader.load_data()[TRAIN].data)
    with torch.inference_mode():
        expected = model(samples).numpy()
    assert export(model, str(path), samples, snapshot="abc") <= 1e-5
    for part in (samples[:1], samples):
        if ending == ".onnx":
            onnx.checker.check_model(onnx.load(path))
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (found,) = session.run(None, {"samples": part.numpy()})
            told = session.get_modelmeta().custom_metadata_map["veles"]
            assert np.abs(found - expected[: len(part)]).max() <= 1e-5
            continue
        if ending == ".pt2":
            files = {"veles.json": ""}
            found = torch.export.load(path, extra_files=files).module()(part)
            told = files["veles.json"]
        elif ending == ".pt":
            content = torch.load(path, weights_only=True)
            model.load_state_dict({key: torch.zeros_like(value) for key, value in content["state_dict"].items()})
            model.load_state_dict(content["state_dict"])
            found, told = model(part), content["veles"]
        else:
            with safe_open(path, "pt") as file:
                model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 it is no dict
                told = file.metadata()["veles"]
            found = model(part)
        if len(part) == len(samples):
            assert np.array_equal(found.detach().numpy(), expected)
    about = json.loads(told)
    assert about["input_shape"] == [2, 3]
    assert about["class_names"] == ([] if "squared" in name else ["0", "1", "2"])
    assert about["snapshot"] == "abc"
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_what_would_compute_something_else_is_not_written(tmp_path: Path) -> None:
    class Batchwise(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values.flatten(1) * len(values)  # which an export takes for a constant

    workflow = trained(
        None,
        layers={"own": {"_target_": "torch.nn.Flatten"}, **NETWORKS["fully connected"].get("layers", {})}
        | {"out": {"type": "softmax"}},
    )
    model = workflow.as_model()
    model.layers["own"].module = Batchwise()
    samples = torch.from_numpy(workflow.loader.load_data()[TRAIN].data)
    for ending in (".pt2", ".onnx"):
        with pytest.raises(RunError, match=ending):
            export(model, str(tmp_path / f"net{ending}"), samples)
    with pytest.raises(ConfigError, match="bin"):
        export(model, str(tmp_path / "net.bin"), samples)
    assert not list(tmp_path.iterdir())
