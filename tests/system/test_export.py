"""`veles-snapshots export`: what it writes is used by a process that has nothing of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from tests import forked
from tests.stored import HERE, ROOT

SNAPSHOTS = HERE / "format2"
ALONE = """
import json, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
(given,) = session.get_inputs()
about = json.loads(session.get_modelmeta().custom_metadata_map["veles"])
data = numpy.zeros((5, *about["input_shape"]), about["input_dtype"])
print(session.run(None, {given.name: data})[0].shape, about["class_names"], "runner" in sys.modules or "torch" in sys.modules)
"""


def export(*arguments: object, cwd: Path = ROOT, code: int = 0) -> subprocess.CompletedProcess[str]:
    texts = ["export", *map(str, arguments)]
    done = forked.run(texts, cwd=cwd, environment=os.environ, timeout=120, command="veles-snapshots")
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def test_onnx_in_a_process_without_torch(tmp_path: Path) -> None:
    done = export(SNAPSHOTS / "convolutional.pickle.gz", "--to", tmp_path / "net.onnx", "--json")
    told = json.loads(done.stdout)
    assert told["samples"] == 42
    assert told["difference"] <= 1e-5
    (tmp_path / "alone.py").write_text(ALONE)
    command = [sys.executable, "alone.py", "net.onnx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "(5, 3) ['a', 'b', 'c'] False\n"


def test_without_the_data_and_without_the_classes(tmp_path: Path) -> None:
    (tmp_path / "w_current.5.pickle.gz").symlink_to(SNAPSHOTS / "dense_gz.pickle.gz")
    done = export("w_current.5.pickle.gz", "--to", "net.pt", cwd=tmp_path)
    assert "--data" in done.stderr
    state = torch.load(tmp_path / "net.pt", weights_only=True)["state_dict"]
    assert state["layers.out.weights"].shape == (3, 5)
    # A workflow of somebody's own, whose modules nobody has declared: nothing of it is made.
    done = export(SNAPSHOTS / "nested.pickle.gz", "--to", "own.safetensors", cwd=tmp_path)
    assert "tests.stored" in done.stderr
    with safe_open(tmp_path / "own.safetensors", "pt") as file:
        assert [*file.keys()] == ["inner.adder.total"]
        assert file.get_tensor("inner.adder.total").shape == (3,)
        assert json.loads(file.metadata()["veles"])["workflow"] == "own"
    for name, to in ((SNAPSHOTS / "nested.pickle.gz", "own.onnx"), (SNAPSHOTS / "dense_gz.pickle.gz", "net.bin")):
        assert len(export(name, "--to", to, cwd=tmp_path, code=2).stderr.splitlines()) == 1
    assert "no network" in export(SNAPSHOTS / "nested.pickle.gz", "--to", "x.pt", "--trusted", "tests.stored", code=2).stderr
