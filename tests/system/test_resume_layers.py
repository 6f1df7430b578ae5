"""Networks of all kinds of layers continue bit for bit."""

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import Run
from tests.states import differences, state_of

CONV = {"type": "conv_relu", "n_kernels": 6, "kx": 5, "ky": 5, "sliding": 2, "gradient_momentum": 0.5}
OUT = {"type": "softmax", "output_sample_shape": 10}
MODULES = [
    {"_target_": "torch.nn.Conv2d", "in_channels": 6, "out_channels": 8, "kernel_size": 3},
    {"_target_": "torch.nn.BatchNorm2d", "num_features": 8},
    {"_target_": "torch.nn.ReLU"},
    {"_target_": "torch.nn.Dropout", "p": 0.2},
]
NETWORKS = {
    "stochastic": {
        "layers": {
            "conv": CONV | {"type": "conv_tanh"},
            "bn": {"type": "batch_norm"},
            "norm": {"type": "local_response_norm"},
            "pool": {"type": "stochastic_pooling", "kx": 2, "ky": 2},
            "drop": {"type": "dropout"},
            "out": OUT,
        },
        "rollback": {"fail_iterations": 1},
    },
    "decoder": {
        "layers": {
            "conv": CONV,
            "pool": {"type": "maxabs_pooling", "kx": 2, "ky": 2},
            "depool": {"type": "depooling", "pooling": "pool"},
            "deconv": {"type": "deconv", "conv": "conv", "tied": True, "gradient_momentum": 0.5},
            "act": {"type": "activation_log"},
            "cutter": {"type": "cutter", "padding": 4},
            "module": {
                "_target_": "torch.nn.Conv2d",
                "in_channels": 1,
                "out_channels": 3,
                "kernel_size": 3,
                "gradient_momentum": 0.5,
            },
            "out": OUT,
        },
    },
    "adam": {
        "layers": {
            "conv": {key: value for key, value in CONV.items() if key != "gradient_momentum"},
            "net": {"_target_": "torch.nn.Sequential", "_args_": MODULES},
            "out": OUT,
        },
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.003},
        "lr_adjuster": {"policy": "cosine", "period": 4},
    },
}


def written(output: str) -> str:
    return re.findall(r"^Snapshot written: (\S+) ", output, re.MULTILINE)[-1]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_resumed_network_is_identical(name: str, veles_run: Run, tmp_path: Path) -> None:
    loader = {"name": "mnist", "minibatch_size": 60, "train_size": 600, "validation_size": 200}
    conf = tmp_path / "conf" / f"{name}.yaml"
    conf.parent.mkdir()
    conf.write_text("# @package _global_\n" + yaml.safe_dump({"loader": loader} | NETWORKS[name], sort_keys=False))
    whole = veles_run(f"conf={name}", "seed=5", "decision.max_epochs=4").stdout
    first = veles_run(f"conf={name}", "seed=5", "decision.max_epochs=2").stdout
    second = veles_run(f"snapshot={written(first)}", "decision.max_epochs=4").stdout
    assert differences(state_of(tmp_path / written(whole)), state_of(tmp_path / written(second))) == []
