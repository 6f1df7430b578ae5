"""Networks that begin with the weights of another run, or of another program."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from runner.errors import ConfigError
from runner.snapshots.restoring.restore import restore
from runner.use.exports import export
from tests.networks import LAYERS, extended, network, stopped, trained
from tests.states import differences, workflow_state


class Net(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        deep = nn.Sequential(nn.Sequential(nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(5, 5))))))
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), deep)
        self.head = nn.Linear(5, outputs)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(samples))


def settings(outputs: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "layers": {"model": {"_target_": f"{__name__}.Net", "outputs": outputs}},
        "loss_config": {"_target_": "torch.nn.CrossEntropyLoss"},
        "optimizer_config": {"_target_": "torch.optim.AdamW", "lr": 0.01},
    } | more


def begun(**more: Any) -> dict[str, torch.Tensor]:
    workflow = network(**settings(**more))
    workflow.initialize()
    return workflow["model"].module.state_dict()


@pytest.mark.parametrize(
    "kind", ["snapshot", "export.safetensors", "export.pt", "plain.pt", "plain.safetensors", "wrapped.pth"]
)
def test_all_that_a_file_has_is_taken(kind: str, tmp_path: Path) -> None:
    workflow = trained(tmp_path, **settings())
    expected = workflow["model"].module.state_dict()
    path = str(tmp_path / kind)
    if kind == "snapshot":
        path = workflow.snapshotter.last_location
    elif kind.startswith("export"):
        export(restore(workflow.snapshotter.last_location, trusted=["tests"]).model(), path, torch.zeros(2, 2, 3))
    elif kind.endswith("safetensors"):
        save_file(expected, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in expected.items()}} if kind[0] == "w" else expected, path)
    found = begun(seed=9, init_from=path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_layers_of_ours_begin_with_those_of_a_snapshot(tmp_path: Path) -> None:
    location = trained(tmp_path).snapshotter.last_location
    layers = LAYERS | {"out": LAYERS["out"] | {"output_sample_shape": 4}}
    workflow = network(seed=8, layers=layers, init_from=location)
    workflow.initialize()
    assert torch.equal(workflow["fc1"].weights, restore(location, trusted=["tests"]).workflow["fc1"].weights)


def test_another_head_stays_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    torch.save({"trunk.1.weight": torch.ones(5, 6), "head.weight": torch.ones(2, 5)}, tmp_path / "w.pt")
    found = begun(init_from=str(tmp_path / "w.pt"))
    assert torch.equal(found["trunk.1.weight"], torch.ones(5, 6))
    assert torch.equal(found["head.weight"], begun()["head.weight"])
    assert "1 of 11 tensors" in caplog.text
    assert "model.head.weight 2x5 there, 3x5 here" in caplog.text
    assert "Not in the file: model.trunk.1.bias" in caplog.text


def test_a_fine_tuned_run_goes_on_without_the_file(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"trunk.1.weight": torch.ones(5, 6)}, file)
    tuned = settings(init_from=str(file), freeze=["model.trunk.*"])
    whole = trained(tmp_path / "whole", **tuned)
    assert torch.equal(whole["model"].module.trunk[1].weight, torch.ones(5, 6))
    location = stopped(tmp_path / "half", 7, **tuned)
    file.unlink()
    again = extended(restore(location, trusted=["tests"]).workflow, epochs=3)
    assert differences(workflow_state(whole), workflow_state(again)) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plain.ckpt", "cannot be read|is damaged"),
        ("w.pt", "is damaged"),
        ("w.safetensors", "cannot be read"),
        ("w.pickle.gz", ""),
        ("missing.pt", "is not a file"),
        ("other.pt", "none of its tensors"),
        ("object.pt", "has no tensors"),
        ("list.pt", "has no tensors"),
        ("cut.ckpt", "is damaged"),
        ("nothing.pth", "is damaged"),
        ("empty.pt", "has no tensors"),
    ],
)
def test_what_cannot_be_read_is_one_line(name: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "cut.ckpt":
        torch.save({"state_dict": {"x": torch.ones(1000)}}, path)
        os.truncate(path, path.stat().st_size // 2)
    if name == "nothing.pth":
        path.touch()
    if name[0] == "w":
        path.write_bytes(b"no weights")
    if name == "plain.ckpt":
        path.write_bytes(pickle.dumps({"state_dict": {"x": 1}}))
    contents = {"other.pt": {"x": torch.ones(1)}, "object.pt": {"x": Path()}, "list.pt": [torch.ones(5, 6)], "empty.pt": {}}
    if name in contents:
        torch.save(contents[name], path)
    with pytest.raises(ConfigError, match=f"init_from='.*({told})") as raised:
        begun(init_from=str(path))
    assert "\n" not in str(raised.value)


class Settings(dict[str, Any]):
    """What a checkpoint may hold besides tensors; nobody knows it where it is read."""


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_lightning_with_objects_of_any_class(tmp_path: Path) -> None:
    import lightning  # which takes seconds

    class Lit(lightning.LightningModule):
        """The same module in Lightning, with a loss that has a weight, too."""

        def __init__(self, settings: Settings, folder: Path) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = Net(3)
            self.loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return self.loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.1)

    module = Lit(Settings(depth=3), tmp_path)
    data = torch.utils.data.TensorDataset(torch.randn(12, 2, 3), torch.arange(12) % 3)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(max_steps=2, accelerator="cpu", **quiet)
    trainer.fit(module, torch.utils.data.DataLoader(data, 4))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(pickle.UnpicklingError, match="Settings"):
        torch.load(tmp_path / "last.ckpt", weights_only=True)
    found = begun(init_from=str(tmp_path / "last.ckpt"))
    assert all(torch.equal(found[name], value) for name, value in module.net.state_dict().items())


class Shell:
    """Runs a command when a pickle is loaded."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_nothing_that_a_checkpoint_names_is_run(tmp_path: Path) -> None:
    shell = Shell()
    shell.path = tmp_path / "run"
    torch.save({"state_dict": {"trunk.1.weight": torch.ones(5, 6)}, "hyper_parameters": [shell]}, tmp_path / "bad.ckpt")
    with pytest.raises(ConfigError, match=r"bad\.ckpt' names posix\.system, which is refused"):
        begun(init_from=str(tmp_path / "bad.ckpt"))
    assert not shell.path.exists()


def test_two_modules_of_the_same_names_are_not_taken_for_one(tmp_path: Path) -> None:
    twice = {f"{net}.trunk.1.weight": torch.ones(5, 6) for net in ("student", "teacher")}
    torch.save(twice | {"student.trunk.1.bias": torch.ones(5)}, tmp_path / "two.pt")
    found = begun(init_from=str(tmp_path / "two.pt"))
    assert torch.equal(found["trunk.1.bias"], torch.ones(5))
    assert torch.equal(found["trunk.1.weight"], begun()["trunk.1.weight"])
