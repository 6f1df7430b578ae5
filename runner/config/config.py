"""The configuration: every key with its type, unit and default, and all checks that need nothing but the configuration."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import ValidationError

from runner.checks import first_line, within
from runner.config.choice import Choice
from runner.config.layers import counting
from runner.config.layers.mcdnnic import mcdnnic_layers
from runner.config.layers.network import normalized_layers
from runner.config.layers.weighted_layers import MatrixGradientConfig
from runner.config.loading import LoaderConfig
from runner.config.logging_to import LoggersConfig
from runner.config.sharing import ParallelConfig
from runner.config.snapshotting import RestoreConfig, SnapshotterConfig
from runner.config.sweeping import SweepConfig
from runner.config.training import (
    DecisionConfig,
    LearningRateConfig,
    MetricsConfig,
    RollbackConfig,
    beside_optimizer,
    check_optimizer,
    check_target,
)
from runner.cores import MOST_THREADS
from runner.errors import ConfigError
from runner.flat import is_reference
from runner.misfits import MISFITS

_WITHIN_TEXT = re.compile(r"(?<!\\)\$\{(\w[\w.]*)\}")
"""A reference to another key, by its full name."""
MODEL = "model"
"""The key, and the name of the layer, of a network that is one module."""


class Mode(Choice):
    """What to do."""

    train = "train"
    evaluate = "evaluate"
    predict = "predict"


class Precision(Choice):
    """Floating-point type of data and weights."""

    float32 = "float32"
    float64 = "float64"


class LossFunction(Choice):
    """What is minimized."""

    softmax = "softmax"
    mse = "mse"


@dataclass(kw_only=True)
class WorkflowConfig:
    """Which workflow is built. Further keys are the arguments of its constructor."""

    name: str | None = None
    """Name of the workflow. Default: the conf file's name."""
    _target_: str | None = None
    """Class of your own workflow, such as `my_module.MyWorkflow`. Default: the standard workflow."""


@dataclass(kw_only=True)
class Config:
    """The whole configuration of a run."""

    mode: Mode = Mode.train
    """`train`; `evaluate`: score a snapshot without training; `predict`: write what it gives for new data."""
    graph: str | None = None
    """Draw the workflow into this file (.svg, .png, .pdf, .dot), and do no more."""
    snapshot: str | None = None
    """Snapshot to continue: a path, a URL, `latest`, `best`, `tag:NAME`, or `auto` (this run's newest, or a fresh start)."""
    data: str | None = None
    """New data for `mode=predict` and `mode=evaluate`: a file or a folder in the form of the training data, or `-` for CSV on
    standard input."""
    output: str | None = None
    """What `mode=predict` writes: .csv, .parquet, .npz, or `-` for CSV on standard output; `mode=evaluate`: scores as .json."""
    seed: int | None = None
    """Seed of everything random. Default: drawn, shown, and kept in the snapshots."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int | None = None
    """Threads of the numerical library. Default: chosen by the size of the network."""
    plotters: bool | None = None
    """Draw plots into the run's folder. Default: if matplotlib is installed and this is not a sweep."""
    report: bool | None = None
    """Write `report.html` into the run's folder at its end. Default: if this is not a sweep, which has one for all its jobs."""
    precision: Precision = Precision.float32
    """Floating-point type of data and weights."""
    workflow: dict[str, Any] = field(default_factory=lambda: asdict(WorkflowConfig()))
    """Which workflow: `name`, `_target_`, and the arguments of your own class."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    loss_function: LossFunction = LossFunction.softmax
    """What is minimized: `softmax` (cross-entropy), or `mse` (the squared distance to the target, or to the sample itself)."""
    loss: dict[str, Any] = field(default_factory=dict)
    """Any loss instead: a `torch.nn.Module` by `_target_`, with its arguments. With `loss_function=mse` it is one of targets,
    even where the data have labels. `output` names what it takes of a dict or a tuple that the model returns."""
    model: dict[str, Any] = field(default_factory=dict)
    """A whole network instead of `layers`: a `torch.nn.Module` by `_target_`, with its arguments, as a layer named `model`."""
    layers: Any = None  # a mapping would not merge with the list of a conf file
    """The layers from first to last: a mapping from names to settings, or a list as in VELES."""
    mcdnnic_topology: str | None = None
    """VELES's short form of the layers, instead of `layers`: `28x28-32C4-MP2-64C4-MP2-800N-10N`."""
    mcdnnic_parameters: dict[str, Any] = field(default_factory=dict)
    """Settings for all layers of `mcdnnic_topology`, below `->` and `<-`."""
    layer_defaults: dict[str, Any] = field(default_factory=dict)
    """Settings for each layer that takes them and has none of its own, such as `learning_rate`."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    """An optimizer of `torch.optim` for all weights, by `_target_`, with its settings. It takes the place of the layers' own
    gradient descent, which is the default. Besides: `groups` of parameters by pattern, `clip_norm`, `clip_value`,
    `accumulate`."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    """A scheduler of `torch.optim.lr_scheduler` for the optimizer, by `_target_`, with its settings. `by_minibatch: true` has
    it take a step after each update of the weights, instead of each epoch."""
    freeze: list[str] = field(default_factory=list)
    """Patterns for the names of parameters that do not learn, such as `model.trunk.*`."""
    ema: float | None = None
    """Decay of an exponential moving average of the parameters, such as 0.999, with which the network is scored and used."""
    init_from: str | None = None
    """Begin with the weights in this file, where names and shapes are the same: a snapshot, .safetensors, .pt, .pth or
    .ckpt of Lightning."""
    lr_adjuster: LearningRateConfig = field(default_factory=LearningRateConfig)
    scores: dict[str, Any] = field(default_factory=dict)
    """Further metrics, by names of your choice: classes of torchmetrics, or derived from one, by `_target_`, with arguments."""
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    rollback: RollbackConfig = field(default_factory=RollbackConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    logger: Any = None
    """Where metrics go besides `metrics.jsonl`, in this call: `tensorboard`, `mlflow`, `trackio`, `wandb`, a class, a list."""
    loggers: LoggersConfig = field(default_factory=LoggersConfig)
    snapshotter: SnapshotterConfig = field(default_factory=SnapshotterConfig)
    restore: RestoreConfig = field(default_factory=RestoreConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        within("threads", self.threads, 1, MOST_THREADS)
        for item in fields(self):
            value = getattr(self, item.name)
            if str(item.type).startswith("dict[") and not isinstance(value, dict) and value is not None:
                raise ConfigError(f"{item.name}={value!r} is a single value, and the section has keys below it")
        if not all(isinstance(name, str) for name in self.logger_names):
            raise ConfigError(f"logger={self.logger!r} is a name, or a list of names: logger=[tensorboard]")
        for key in asdict(WorkflowConfig()):
            if not isinstance(self.workflow.get(key), str | None):
                raise ConfigError(f"workflow.{key}={self.workflow[key]!r} must be a text")
        check_use(self.mode, self.snapshot, self.data, self.output)

    @property
    def logger_names(self) -> list[str]:
        """The names of `logger`, each once."""
        return list(dict.fromkeys(self.logger if isinstance(self.logger, list) else [self.logger] if self.logger else []))


def check_use(mode: Mode, snapshot: str | None, data: str | None, output: str | None) -> None:
    """Checks that a mode has the keys that it needs, and none that are for others.

    Raises:
        ConfigError: one is missing, or would count for nothing.
    """
    if mode is Mode.train:
        for key, value in (("data", data), ("output", output)):
            if value is not None:
                raise ConfigError(f"{key}={value!r} is for mode=predict and mode=evaluate; a run reads what its loader says")
        return
    what = "scores a snapshot" if mode is Mode.evaluate else "needs a snapshot"
    if not snapshot:
        raise ConfigError(f"mode={mode.value} {what}: name it with snapshot=FILE or snapshot=latest")
    for key, value in (("data=FILE or data=FOLDER", data), ("output=FILE.csv, .parquet or .npz, or output=-", output)):
        if mode is Mode.predict and not value:
            raise ConfigError(f"mode=predict needs {key}")


def from_hydra(node: DictConfig) -> Config:
    """Returns the checked configuration that Hydra composed.

    Raises:
        ConfigError: a value is wrong.
    """
    node = node.copy()
    try:
        _check_texts(node, node)
        _settle_sections(node)
        # References to a connection string are resolved when it is used: what is resolved here would be saved.
        odbc, node.snapshotter.odbc = node.snapshotter._get_node("odbc")._value(), None
        config: Config = OmegaConf.to_object(node)  # type: ignore[assignment]
    except MISFITS as error:
        full_key = getattr(error, "full_key", None)
        key = f"{full_key}: " if full_key and full_key not in first_line(error) else ""
        raise ConfigError(f"{key}{first_line(error)}") from error
    settle_layers(config)
    check_optimizer(config.optimizer, config.layers)
    check_target("scheduler", config.scheduler, "torch.optim.lr_scheduler.CosineAnnealingLR")
    check_target("loss", config.loss, "torch.nn.CrossEntropyLoss")
    config.snapshotter.odbc = odbc
    return config


def _check_texts(root: DictConfig, node: DictConfig, prefix: str = "") -> None:
    """Raises a ConfigError for a text around a reference to what is null: the text would hold the word None."""
    for key in map(str, node):
        value: Any = node._get_node(key)
        if isinstance(value, DictConfig):
            if not (value._is_none() or value._is_interpolation()):
                _check_texts(root, value, f"{prefix}{key}.")
        elif is_reference(text := value._value()):
            for name in _WITHIN_TEXT.findall(text):
                if text != f"${{{name}}}" and OmegaConf.select(root, name, default="") is None:
                    raise ConfigError(f"{prefix}{key} holds ${{{name}}}, which is null: set {name}, or leave the reference out")


def _settle_sections(node: DictConfig, prefix: str = "") -> None:
    """Puts what sections and lists refer to into their places, where OmegaConf checks that it is of their kind."""
    for key in map(str, node):
        section = node._get_node(key)
        if isinstance(section, Container) and section._is_interpolation():
            try:
                node[key] = node[key]
            except ValidationError as error:
                raise ConfigError(f"{prefix}{key}={section._value()} does not lead to what {prefix}{key} has to be") from error
        elif isinstance(section, DictConfig) and is_dataclass(OmegaConf.get_type(section)):
            _settle_sections(section, f"{prefix}{key}.")


def checked_layers(config: Any, typed: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Returns the normalized layers of a configuration, which `layers` or `mcdnnic_topology` describes.

    Args:
        config: the configuration; `model` is a layer of that name.
        typed: the keys that were typed, which have to count for a layer.

    Raises:
        ConfigError: both describe them, a layer is wrong, or what was typed changes nothing.
    """
    layers = config.layers
    if config.model:
        if layers or config.mcdnnic_topology:
            other = "layers" if layers else "mcdnnic_topology"
            raise ConfigError(f"model and {other} both describe the network: take one of them away")
        check_target("model", config.model, "my_models.Net")
        layers = {MODEL: OmegaConf.to_container(OmegaConf.create(config.model))}
    if config.mcdnnic_topology:
        if layers:
            raise ConfigError("layers and mcdnnic_topology both describe the network: take one of them away")
        layers = mcdnnic_layers(config.mcdnnic_topology, config.mcdnnic_parameters)
    named = [key for key in config.layer_defaults if f"layer_defaults.{key}" in typed]
    checked = normalized_layers(layers, config.layer_defaults, named)
    counting.check(checked, typed, config.freeze)
    return checked


def settle_layers(config: Any) -> None:
    """Replaces whatever describes the layers by the normalized ones.

    Raises:
        ConfigError: as for `checked_layers`.
    """
    config.layers = checked_layers(config)
    config.model, config.mcdnnic_topology, config.mcdnnic_parameters, config.layer_defaults = {}, None, {}, {}


def let_optimizer_take_over(node: DictConfig, typed: Collection[str]) -> list[str]:
    """Removes the layers' own settings of gradient descent beside an optimizer, which takes their place.

    So an optimizer can be put over any conf file. What was typed for a layer stays, and is refused later: it cannot count.

    Args:
        node: the configuration, which changes.
        typed: the keys that were typed.

    Returns:
        the keys that were removed.

    Raises:
        ConfigError: a default for all layers was typed, or a layer is wrong.
    """
    if not isinstance(node.optimizer, Mapping) or not node.optimizer.get("_target_"):
        return []
    settle_layers(node)
    found = [
        (name, item.name) for name in node.layers for item in fields(MatrixGradientConfig) if item.name in node.layers[name]
    ]
    if wrong := next((key for _, key in found if f"layer_defaults.{key}" in typed), None):
        raise beside_optimizer("layer_defaults", wrong, node.optimizer)
    removed = [(name, key) for name, key in found if f"layers.{name}.{key}" not in typed]
    for name, key in removed:
        del node.layers[name][key]
    return [f"layers.{name}.{key}" for name, key in removed]


def plain(config: Config) -> dict[str, Any]:
    """Returns the configuration as plain data, as snapshots keep it."""
    return {item.name: _plain(getattr(config, item.name)) for item in fields(config)}


def _plain(value: Any) -> Any:
    # OmegaConf would do the same, a hundred times slower: each job of a sweep needs it several times.
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.name if isinstance(value, Choice) else value
