"""The network alone: a module of torch that computes what the workflow computes in evaluation, to the bit."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Unit, Workflow
from runner.nn import StandardWorkflow
from runner.nn.inference.building import as_module
from runner.nn.inference.model import Network, Normalization, Signature
from runner.nn.layers.dense import All2All
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.normalizers import NORMALIZERS
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples
from runner.snapshots.restoring.restore import restore
from tests.networks import LAYERS, BlobsLoader, network, trained
from tests.stored import HERE, ROOT
from tests.unit.nn.test_gradients import CASES, CHECKS, SAMPLES, Bench
from tests.unit.nn.test_state_types import NETWORKS

PIXELS = np.dtype(np.uint8)


class BytesLoader(BlobsLoader):
    """The clouds as pixels."""

    def load_data(self) -> dict[int, Samples]:
        loaded = super().load_data()
        return {key: Samples((value.data * 20 + 90).astype(PIXELS), value.labels) for key, value in loaded.items()}


class TokensLoader(BlobsLoader):
    """Whole numbers, which are not normalized."""

    def load_data(self) -> dict[int, Samples]:
        loaded = super().load_data()
        return {key: Samples(np.abs(value.data * 3).astype(np.int16), value.labels) for key, value in loaded.items()}

    def default_normalization(self, train: Any) -> str:
        return "none"


LOADERS["pixels"] = BytesLoader
LOADERS["tokens"] = TokensLoader


def evaluated(workflow: StandardWorkflow) -> Tensor:
    """What `mode=evaluate` computes for the validation set, as probabilities where there are classes."""
    found = []
    for step in workflow.loader.evaluation():
        workflow.loader.serve(step)
        for unit in workflow.forwards:
            unit.run()
        outputs = workflow.forwards[-1].output_.clone()
        found.append(outputs.softmax(1) if workflow.evaluator.outputs_are == "logits" else outputs)
    return torch.cat(found)


def by_minibatches(model: Network, data: Any, size: int) -> Tensor:
    """What a model gives for raw samples, as many at once as in training."""
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.from_numpy(np.ascontiguousarray(data)).split(size)])


def model_of_last(workflow: StandardWorkflow) -> Network:
    """The model of the last snapshot that a workflow took."""
    return restore(workflow.snapshotter.last_location, trusted=["tests"]).model()


def check_equal(workflow: StandardWorkflow, model: Network) -> None:
    raw = workflow.loader.load_data()[VALIDATION].data
    expected = evaluated(workflow)
    assert torch.equal(by_minibatches(model, raw, workflow.loader.minibatch_size), expected.reshape(len(raw), -1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize(("kind", "number"), CASES)
def test_every_layer_computes_the_same_as_a_module(kind: str, number: int, dtype: torch.dtype, rng: random.Random) -> None:
    check = CHECKS[kind][number]
    inputs = torch.randn((SAMPLES, *check.shape), dtype=dtype, generator=torch.Generator().manual_seed(rng.randrange(2**32)))
    bench = Bench(kind, check, inputs)
    bench.source.evaluating <<= True
    if kind == "depooling" and "stochastic" in check.before["type"]:
        with pytest.raises(ConfigError, match=r"layers\.layer"):
            as_module(bench.forward)
        return
    if kind == "deconv":
        bench.forward.bias = None if bench.forward.bias is None else torch.rand_like(bench.forward.bias)
    bench.run()
    one = torch.ones((), dtype=torch.float64)
    shapes = {"input_shape": check.shape, "output_shape": bench.forward.output_shape}
    signature = Signature(workflow="w", input_dtype=dtype, output_dtype=dtype, **shapes)
    layers = {unit.name: as_module(unit) for unit in bench.forwards}
    model = Network(signature, Normalization(one, one - 1, dtype), layers)
    kept = inputs.clone()
    assert torch.equal(model(inputs), bench.forward.output_.reshape(SAMPLES, *bench.forward.output_shape))
    assert torch.equal(inputs, kept)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "own step"])  # which has tests of its own
def test_a_restored_network_is_a_module(name: str, tmp_path: Path) -> None:
    workflow = trained(tmp_path, **NETWORKS[name])
    model = model_of_last(workflow)
    check_equal(workflow, model)
    # It is plain: torch reads its state without any of our classes.
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    model.load_state_dict({key: torch.zeros_like(value) for key, value in state.items()})
    model.load_state_dict(state)
    check_equal(workflow, model)


@pytest.mark.parametrize("loader", ["blobs", "pixels", "tokens"])
@pytest.mark.parametrize("normalization", NORMALIZERS)
def test_normalization_is_inside(normalization: str, loader: str, tmp_path: Path) -> None:
    config = {"minibatch_size": 8, "normalization": normalization}
    decision = {"max_epochs": 1}
    workflow = trained(tmp_path, loader_name=loader, loader_config=config, decision_config=decision)
    model = model_of_last(workflow)
    check_equal(workflow, model)
    assert model.signature.input_dtype == {"blobs": torch.float64, "pixels": torch.uint8, "tokens": torch.int16}[loader]
    assert model.signature.input_shape == (2, 3)
    assert model.signature.class_names == ("0", "1", "2")


def test_whole_numbers_stay_whole_for_a_module_that_takes_them(tmp_path: Path) -> None:
    layers = {
        "words": {"_target_": "torch.nn.EmbeddingBag", "num_embeddings": 100, "embedding_dim": 4},
        "train": {"type": "all2all_tanh", "output_sample_shape": 4},  # the name of a method of modules
        "out": LAYERS["out"],
    }

    class Flat(TokensLoader):
        def load_data(self) -> dict[int, Samples]:
            return {key: Samples(value.data.reshape(-1, 6), value.labels) for key, value in super().load_data().items()}

    LOADERS["flat_tokens"] = Flat
    workflow = trained(None, loader_name="flat_tokens", layers=layers)
    model = workflow.as_model()
    check_equal(workflow, model)
    assert model.state_dict().keys() >= {"layers.words.module.weight", "layers.train_.weights"}


def test_samples_may_be_arrays() -> None:
    workflow = trained(None)
    model, samples = workflow.as_model(), workflow.loader.load_data()[VALIDATION].data
    assert torch.equal(model(samples), model(torch.from_numpy(samples)))
    assert torch.equal(model(samples.tolist()), model(torch.tensor(samples.tolist())))


@pytest.mark.parametrize("shape", [(4, 1), (4,), (4, 5), (4, 7), (4, 1, 1), (4, 3, 3), ()])
def test_samples_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    model = trained(None).as_model()
    for use in (model, model.classify):
        with pytest.raises(ValueError, match=r"the network takes samples of shape \(2, 3\)"):
            use(torch.zeros(shape))


def test_a_module_is_its_own_and_can_be_trained_further(tmp_path: Path) -> None:
    workflow = trained(None, layers=NETWORKS["images"]["layers"])
    before = {name: value.clone() for unit in workflow.forwards for name, value in unit.tensors().items()}
    model = workflow.as_model()
    assert model.layers["deconv"].weights is model.layers["conv"].weights  # tied
    raw = workflow.loader.load_data()[TRAIN]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = functional.nll_loss(model(torch.from_numpy(raw.data)).clamp_min(1e-9).log(), torch.from_numpy(raw.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for unit in workflow.forwards:
        for name, value in unit.tensors().items():
            if unit is workflow.forwards[-1]:
                assert torch.equal(value, before[name])


def test_names_come_from_the_snapshot_and_no_data_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, features in (("dense_gz.pickle.gz", True), ("convolutional.pickle.gz", False)):
        monkeypatch.chdir(ROOT)
        restored = restore(HERE / "format2" / name)
        restored.workflow.initialize()
        monkeypatch.chdir(tmp_path)  # where the data are not
        model = restore(HERE / "format2" / name).model()
        check_equal_outputs(restored.workflow, model)
        assert model.signature.class_names == ("a", "b", "c") if not features else len(model.signature.class_names) == 3
        assert bool(model.signature.feature_names) is features
        assert set(model.classify(torch.zeros(2, *model.signature.input_shape))) <= set(model.signature.class_names)
        odd = torch.zeros(3, *model.signature.input_shape)
        odd[1] = torch.nan
        with pytest.raises(ValueError, match="for sample 1, which is of no class"):
            model.classify(odd)


def check_equal_outputs(workflow: Any, model: Network) -> None:
    """Compares on the validation share, which the loader holds normalized."""
    with torch.inference_mode():
        model.normalization = torch.nn.Identity()
        found = [model(part) for part in workflow.loader.data_[VALIDATION].split(workflow.loader.minibatch_size)]
    assert torch.equal(torch.cat(found), evaluated(workflow))


class Doubled(All2All):
    """A layer of one's own, which only looks like another."""

    def run(self) -> None:
        super().run()
        self.output_ = self.output_ * 2


class DoubledToo(Doubled):
    """One that says what it is."""

    def as_module(self) -> torch.nn.Module:
        layer = torch.nn.Linear(*reversed(self.weights.shape))
        layer.load_state_dict({"weight": 2 * self.weights, "bias": 2 * self.bias})
        return torch.nn.Sequential(torch.nn.Flatten(), layer)


def with_layer(cls: type) -> StandardWorkflow:
    workflow = network(layers={"fc": {"type": "all2all", "output_sample_shape": 4}, "out": LAYERS["out"]})
    workflow.forwards[0].__class__ = cls
    workflow.initialize()
    return workflow


def test_what_cannot_be_a_module_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"layers\.fc .*Doubled.*as_module"):
        with_layer(Doubled).as_model()
    workflow = with_layer(DoubledToo)
    raw = workflow.loader.load_data()[VALIDATION].data
    torch.testing.assert_close(workflow.as_model()(torch.from_numpy(raw)), evaluated(workflow))
    workflow = network()
    between = Unit(workflow, "noise").link_from(workflow.forwards[0])
    workflow.forwards[1].link_from(between)
    workflow.initialize()
    with pytest.raises(ConfigError, match="noise"):
        workflow.as_model()
    with pytest.raises(ConfigError, match="no network"):
        Workflow(name="other").as_model()
    with pytest.raises(ConfigError, match="initialize"):
        network().as_model()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_shape", ()),
        ("sample_shape", (0,)),
        ("sample_shape", (2**62, 2**62)),
        ("sample_shape", (3, 2)),
        ("sample_shape", (7,)),
        ("feature_names", ["\x1b[2J", "\x1b[2J"]),
        ("label_names", ["a", "a"]),
        ("data_dtype", "save"),
    ],
)
def test_names_and_shapes_that_a_snapshot_cannot_have(name: str, value: Any, tmp_path: Path) -> None:
    workflow = trained(tmp_path)
    workflow.loader.normalizer = tuple(torch.ones(2, 3, dtype=torch.float64) for _ in range(2))
    setattr(workflow.loader, name, value)
    workflow.snapshotter.export()
    workflow.snapshotter.finish()
    if name == "data_dtype":  # nothing is looked up that is no type
        assert model_of_last(workflow).signature.input_dtype == torch.float32
        return
    with pytest.raises(SnapshotMismatchError) as error:
        model_of_last(workflow)
    assert str(error.value).isprintable()
