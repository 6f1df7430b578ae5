"""The names in a snapshot's pickle: stable names for veles-run's classes, and functions that recreate objects.

A pickle finds a class by its module and name. If it named the modules as they are, none could move after the first release. So
a snapshot says `runner.pickled.class_("Unit")` instead, and this module knows where the class is today. A name in `CLASSES` is
never removed or given to another class: a renamed class keeps its old name here.

`docs/format.md` specifies the arguments of each function. This module imports nothing, so every other module can import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from runner.graph import Unit, Workflow

CLASSES = {
    "ActivationGradient": "runner.nn.layers.activation",
    "ActivationLayer": "runner.nn.layers.activation",
    "Agreement": "runner.nn.agreement",
    "All2All": "runner.nn.layers.dense",
    "All2AllGradient": "runner.nn.layers.dense",
    "AverageSwitch": "runner.nn.moving_average",
    "AvgPooling": "runner.nn.layers.pooling",
    "AvgPoolingGradient": "runner.nn.layers.pooling",
    "BatchNorm": "runner.nn.layers.normalization",
    "BatchNormGradient": "runner.nn.layers.normalization",
    "Bool": "runner.graph.bool",
    "Callback": "runner.graph.bool",
    "Cifar10Loader": "runner.nn.loading.cifar10_loader",
    "ClassEvaluator": "runner.nn.evaluators.class_evaluator",
    "ConfusionPlotter": "runner.nn.plotters",
    "Control": "runner.graph.loop",
    "Conv": "runner.nn.layers.conv",
    "ConvGradient": "runner.nn.layers.conv",
    "Cutter": "runner.nn.layers.cutter",
    "CutterGradient": "runner.nn.layers.cutter",
    "DatasetLoader": "runner.nn.loading.dataset_loader",
    "Decision": "runner.nn.decision",
    "Deconv": "runner.nn.layers.deconv",
    "DeconvGradient": "runner.nn.layers.deconv",
    "Depooling": "runner.nn.layers.pooling",
    "DepoolingGradient": "runner.nn.layers.pooling",
    "DigitsLoader": "runner.nn.loading.sklearn_loader",
    "Dropout": "runner.nn.layers.dropout",
    "DropoutGradient": "runner.nn.layers.dropout",
    "EndPoint": "runner.graph.workflow",
    "ErrorPlotter": "runner.nn.plotters",
    "Evaluator": "runner.nn.evaluators.evaluator",
    "Exchange": "runner.nn.sharding.exchange",
    "Expression": "runner.graph.bool",
    "Forward": "runner.nn.layers.base",
    "Frozen": "runner.nn.training.held",
    "FullBatchLoader": "runner.nn.loading.loader",
    "Gradient": "runner.nn.layers.base",
    "Held": "runner.nn.training.held",
    "ImagesLoader": "runner.nn.loading.image_loader",
    "InMemoryData": "runner.nn.loading.in_memory_data",
    "LearningRateAdjuster": "runner.nn.schedule",
    "Link": "runner.graph.links",
    "LocalResponseNorm": "runner.nn.layers.normalization",
    "LocalResponseNormGradient": "runner.nn.layers.normalization",
    "LossEvaluator": "runner.nn.evaluators.loss",
    "LossGradient": "runner.nn.evaluators.loss_gradient",
    "MSEEvaluator": "runner.nn.evaluators.mse",
    "MaxAbsPooling": "runner.nn.layers.pooling",
    "MaxPooling": "runner.nn.layers.pooling",
    "MaxPoolingGradient": "runner.nn.layers.pooling",
    "Metric": "runner.nn.evaluators.evaluator",
    "Minibatch": "runner.nn.loading.minibatches",
    "MnistLoader": "runner.nn.loading.mnist_loader",
    "Module": "runner.nn.layers.module",
    "ModuleGradient": "runner.nn.layers.module",
    "ModuleWeights": "runner.nn.layers.module",
    "MovingAverage": "runner.nn.moving_average",
    "Multiplication": "runner.nn.layers.activation",
    "MultiplicationGradient": "runner.nn.layers.activation",
    "NetworkOptimizer": "runner.nn.network_optimizer",
    "NetworkUnit": "runner.nn.core.network_unit",
    "NetworkUnits": "runner.nn.network_units",
    "OwnStep": "runner.nn.layers.own_step",
    "Pickleable": "runner.graph.pickleable",
    "Plotter": "runner.plots.plotter",
    "Pooling": "runner.nn.layers.pooling",
    "Records": "runner.metrics.records",
    "Repeater": "runner.graph.workflow",
    "Rollback": "runner.nn.rollback",
    "SGD": "runner.nn.training.sgd",
    "Scheduler": "runner.nn.torch_scheduler",
    "Shards": "runner.nn.sharding.shards",
    "SinCos": "runner.nn.layers.activation",
    "SinCosGradient": "runner.nn.layers.activation",
    "Snapshotter": "runner.snapshots.snapshotter",
    "SnapshotterSettings": "runner.snapshots.settings",
    "SoftmaxEvaluator": "runner.nn.evaluators.softmax",
    "StandardWorkflow": "runner.nn.standard_workflow",
    "StartPoint": "runner.graph.workflow",
    "StepEvaluator": "runner.nn.evaluators.step_evaluator",
    "StochasticPooling": "runner.nn.layers.stochastic_pooling",
    "StochasticPoolingGradient": "runner.nn.layers.stochastic_pooling",
    "Stream": "runner.nn.core.random_stream",
    "TableLoader": "runner.nn.loading.table_loader",
    "TorchMetrics": "runner.nn.evaluators.torch_metrics",
    "TorchStep": "runner.nn.training.torch_optim",
    "Unit": "runner.graph.unit",
    "WeightedForward": "runner.nn.layers.weighted",
    "WeightedGradient": "runner.nn.layers.weighted",
    "WeightsPlotter": "runner.nn.plotters",
    "WineLoader": "runner.nn.loading.sklearn_loader",
    "Workflow": "runner.graph.workflow",
}
"""The module of each class that a snapshot may contain, by the class's name in snapshots."""

RENAMED: dict[str, str] = {}
"""Today's name of each class that has another name in snapshots."""


def class_(name: str) -> type:
    """Returns the class of veles-run that has this name in snapshots.

    Raises:
        AttributeError: there is no such class.
    """
    from importlib import import_module

    if name not in CLASSES:
        raise AttributeError(f"veles-run has no class {name[:100]!r} that a snapshot may contain")
    found: type = getattr(import_module(CLASSES[name]), RENAMED.get(name, name))
    return found


def name_of(cls: type) -> str | None:
    """Returns the name that a class of veles-run has in snapshots; None for any other class."""
    name = next((old for old, new in RENAMED.items() if new == cls.__qualname__), cls.__qualname__)
    return name if CLASSES.get(name) == cls.__module__ else None


def unit(cls: type[Unit], workflow: Workflow) -> Unit:
    """Makes a unit without its state, which comes with the state of its workflow."""
    return cls.__new__(cls)


def storage(data: bytes | bytearray, device: str) -> torch.UntypedStorage:
    """Makes a torch storage from bytes, as `on_device` does. If this machine has no GPU, the storage is on the CPU."""
    import torch

    from runner.storages import bytes_of

    # Copied to memory that torch has allocated, since results of BLAS may depend on its alignment.
    memory = torch.empty(len(data), dtype=torch.uint8)
    bytes_of(memory.untyped_storage())[:] = data
    return on_device(memory, device)


def on_device(memory: torch.Tensor, device: str) -> torch.UntypedStorage:
    """Returns the storage of bytes in torch's memory, moved to the device if this machine has it.

    A process that has chosen a GPU by `torch.cuda.set_device` has all of it there; so has one whose machine has fewer GPUs.
    """
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        memory = memory.to(f"cuda:{_gpu(device)}")
    return memory.untyped_storage()


def _gpu(recorded: str) -> int:
    import torch

    number, chosen = int(recorded.partition(":")[2] or 0), torch.cuda.current_device()
    return number if chosen == 0 and number < torch.cuda.device_count() else chosen


def tensor(
    storage: torch.UntypedStorage,
    dtype: str,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool,
    parameter: bool,
    gradient: torch.Tensor | None = None,
) -> torch.Tensor:
    """Makes a tensor over a storage, with the gradient that it has gathered. Offset and strides count elements."""
    import torch

    made = torch.empty(0, dtype=getattr(torch, dtype), device=storage.device)
    made.set_(storage, offset, tuple(size), tuple(stride))
    made = torch.nn.Parameter(made, requires_grad) if parameter else made.requires_grad_(requires_grad)
    if gradient is not None:
        made.grad = gradient
    return made


def generator(device: str, state: torch.Tensor) -> torch.Generator:
    """Makes a torch random generator in the given state."""
    import torch

    made = torch.Generator(device)
    made.set_state(state)
    return made


def view(
    owner: npt.NDArray[Any],
    dtype: np.dtype[Any],
    offset: int,
    shape: Sequence[int],
    strides: Sequence[int],
    writeable: bool,
) -> npt.NDArray[Any]:
    """Makes a view of an array. Offset and strides count bytes."""
    import numpy as np

    made: npt.NDArray[Any] = np.ndarray(tuple(shape), dtype, owner.reshape(-1, order="A"), offset, tuple(strides))
    made.flags.writeable = made.flags.writeable and writeable
    return made
