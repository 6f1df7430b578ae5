"""The configuration: every key with its type, unit and default, and all checks that need nothing but the configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from runner.errors import ConfigError, known
from runner.snapshots.location import DEFAULT_TABLE
from runner.snapshots.settings import SnapshotterSettings, at_least
from runner.snapshots.stores.dialects import check_table

SIZE = Any  # OmegaConf has no union of an integer and a list


class Mode(Enum):
    """What to do."""

    train = "train"
    evaluate = "evaluate"


class Precision(Enum):
    """Floating-point type of data and weights."""

    float32 = "float32"
    float64 = "float64"


class Filling(Enum):
    """How weights are filled."""

    uniform = "uniform"
    gaussian = "gaussian"
    constant = "constant"


class LossFunction(Enum):
    """What is minimised."""

    softmax = "softmax"


@dataclass(kw_only=True)
class WorkflowConfig:
    """Which workflow is built."""

    name: str | None = None
    """Name of the workflow; the conf file's name unless given."""


@dataclass(kw_only=True)
class LoaderConfig:
    """Where the data come from and how they are served."""

    name: str = "mnist"
    """Which loader."""
    minibatch_size: int = 100
    """Samples in a minibatch."""
    normalization: str = "linear"
    """`linear` maps the range of the training set to [-1, 1], `range` to [0, 1]; `none` leaves the data alone."""
    train_size: int | None = None
    """Training samples to use, from the first on; all unless given."""
    validation_size: int | None = None
    """Validation samples to use, from the first on; all unless given."""


@dataclass(kw_only=True)
class All2AllForwardConfig:
    """The forward side (`->`) of a fully connected layer."""

    output_sample_shape: SIZE = None
    """Number of outputs, or the shape of a sample of them."""
    weights_filling: Filling = Filling.uniform
    """How the weights are filled."""
    weights_stddev: float | None = None
    """Limit (uniform), standard deviation (gaussian) or value (constant); 1 / sqrt(inputs) unless given."""
    bias_filling: Filling = Filling.uniform
    """How the bias is filled."""
    bias_stddev: float | None = None
    """As `weights_stddev`, for the bias."""
    include_bias: bool = True
    """Whether there is a bias."""

    def __post_init__(self) -> None:
        shape = self.output_sample_shape
        sizes = shape if isinstance(shape, list | tuple) else [shape]
        if not sizes or not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
            raise ConfigError(f"output_sample_shape={shape!r} must be a positive integer, or a list of such")
        for what in ("weights", "bias"):
            size = getattr(self, f"{what}_stddev")
            if size is not None and size < 0 and getattr(self, f"{what}_filling") is not Filling.constant:
                raise ConfigError(f"{what}_stddev={size} must not be negative, unless {what}_filling is constant")


@dataclass(kw_only=True)
class GradientConfig:
    """The backward side (`<-`) of a layer with weights: stochastic gradient descent."""

    learning_rate: float = 0.01
    """Learning rate of the weights."""
    learning_rate_bias: float | None = None
    """Learning rate of the bias; as for the weights unless given."""
    weights_decay: float = 0.0
    """Weight decay of the weights."""
    weights_decay_bias: float | None = 0.0
    """Weight decay of the bias; as for the weights if null."""
    l1_vs_l2: float = 0.0
    """Share of L1 in the decay of the weights: 0 is L2 alone, 1 is L1 alone."""
    l1_vs_l2_bias: float | None = None
    """Share of L1 in the decay of the bias; as for the weights unless given."""
    gradient_moment: float = 0.0
    """Momentum of the weights, 0 to below 1."""
    gradient_moment_bias: float | None = None
    """Momentum of the bias; as for the weights unless given."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if item.name.startswith("l1_vs_l2") and not 0 <= value <= 1:
                raise ConfigError(f"{item.name}={value} must be between 0 and 1")
            if item.name.startswith("gradient_moment") and not 0 <= value < 1:
                raise ConfigError(f"{item.name}={value} must be at least 0 and below 1")
            if not 0 <= value < math.inf:
                raise ConfigError(f"{item.name}={value} must not be negative, and must be finite")


@dataclass(kw_only=True)
class DropoutForwardConfig:
    """The forward side of dropout."""

    dropout_ratio: float = 0.5
    """Share of the values that is dropped, 0 to below 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout_ratio < 1:
            raise ConfigError(f"dropout_ratio={self.dropout_ratio} must be at least 0 and below 1")


@dataclass(kw_only=True)
class NoConfig:
    """A side of a layer that has no settings."""


LAYER_CONFIGS: dict[str, tuple[type, type]] = {
    **dict.fromkeys(
        ("all2all", "all2all_tanh", "all2all_relu", "all2all_str", "all2all_sigmoid", "softmax"),
        (All2AllForwardConfig, GradientConfig),
    ),
    "dropout": (DropoutForwardConfig, NoConfig),
}
"""For each type of layer the settings of its forward and of its backward side."""


@dataclass(kw_only=True)
class LearningRateConfig:
    """How learning rates change from epoch to epoch."""

    policy: str = "fixed"
    """`fixed`, `exp`, `step_exp`, `inv`, `cosine` or `arbitrary_step`."""
    gamma: float | None = None
    """Base of `exp` and `step_exp`; slope of `inv`."""
    step: int | None = None
    """Epochs in a step of `step_exp`."""
    power: float | None = None
    """Exponent of `inv`."""
    period: int | None = None
    """Epochs in which `cosine` falls from 1 to `floor`."""
    floor: float | None = None
    """Where `cosine` ends; 0 unless given."""
    lrs_with_lengths: list[Any] | None = None
    """Pairs [factor, epochs] of `arbitrary_step`."""

    NEEDS = {
        "fixed": ((), ()),
        "exp": (("gamma",), ()),
        "step_exp": (("gamma", "step"), ()),
        "inv": (("gamma", "power"), ()),
        "cosine": (("period",), ("floor",)),
        "arbitrary_step": (("lrs_with_lengths",), ()),
    }

    def __post_init__(self) -> None:
        if self.policy not in self.NEEDS:
            raise ConfigError(f"lr_adjuster.policy={self.policy!r} is unknown; known: {known(self.NEEDS)}")
        required, optional = self.NEEDS[self.policy]
        given = {item.name for item in fields(self) if item.name != "policy" and getattr(self, item.name) not in (None, [])}
        if missing := set(required) - given:
            raise ConfigError(f"lr_adjuster.policy={self.policy!r} needs lr_adjuster.{min(missing)}")
        if extra := given - set(required) - set(optional):
            raise ConfigError(f"lr_adjuster.{min(extra)} does not belong to lr_adjuster.policy={self.policy!r}")
        for name in ("step", "period"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"lr_adjuster.{name}={value} must be at least 1 (epochs)")
        for pair in self.lrs_with_lengths or ():
            numbers = isinstance(pair, list) and len(pair) == 2 and all(isinstance(number, int | float) for number in pair)
            if not numbers or pair[1] < 1:
                raise ConfigError(f"lr_adjuster.lrs_with_lengths has {pair!r}, which is no pair [factor, epochs]")

    def parameters(self) -> dict[str, Any]:
        """Returns the parameters of the policy."""
        return {
            name: getattr(self, name) for names in self.NEEDS[self.policy] for name in names if getattr(self, name) is not None
        }


@dataclass(kw_only=True)
class DecisionConfig:
    """When a run is over."""

    max_epochs: int | None = None
    """Epochs in all; without a limit unless given."""
    fail_iterations: int | None = 100
    """Epochs without an improvement after which the run is over."""

    def __post_init__(self) -> None:
        at_least("decision.max_epochs", self.max_epochs, 1, "epochs")
        at_least("decision.fail_iterations", self.fail_iterations, 1, "epochs")


@dataclass(kw_only=True)
class SnapshotterConfig(SnapshotterSettings):
    """When snapshots are taken, and where they go."""

    directory: str | None = None
    """Folder of the snapshots; the run's output folder unless given."""
    odbc: str | None = None
    """Database of the snapshots, instead of a folder: a connection string, `DSN=name`, or the name of a data source."""
    table: str = DEFAULT_TABLE
    """Table of the snapshots in the database."""
    create_table: bool = True
    """Whether the table is made if it is not there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table(self.table)


class Trust(Enum):
    """How a snapshot's pickle is loaded."""

    restricted = "restricted"
    """By a machine that builds known objects and never runs what the snapshot names."""
    signed = "signed"
    """By Python's own unpickler, if the signature is right."""
    full = "full"
    """By Python's own unpickler: the snapshot can do whatever its maker wants."""


@dataclass(kw_only=True)
class RestoreConfig:
    """How far the snapshot that is restored is trusted."""

    trust: Trust = Trust.restricted
    """How it is loaded: `restricted`, `signed` or `full`."""
    trusted: list[str] = field(default_factory=list)
    """Modules and packages of your own whose classes it may hold, for `restricted`."""
    key: str | None = None
    """Key of its signature, for `signed`: the path of a file, or `env:NAME`."""

    def __post_init__(self) -> None:
        if self.trust is Trust.restricted and not self.trusted and self.key is None:
            return  # the defaults: `--help` must not wait for the imports below
        from runner.snapshots.trust import Policy

        Policy(self.trust, tuple(self.trusted), self.key)


@dataclass(kw_only=True)
class Config:
    """The whole configuration of a run."""

    mode: Mode = Mode.train
    """`train`, or `evaluate`: score a snapshot without training."""
    snapshot: str | None = None
    """Snapshot to continue: a path, `odbc://...`, `latest`, or `auto` (latest if there is one)."""
    seed: int | None = None
    """Seed of everything random; drawn, shown and kept in the snapshots unless given."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int | None = None
    """Threads of the numerical library; chosen by the size of the network unless given."""
    precision: Precision = Precision.float32
    """Floating-point type of data and weights."""
    workflow: WorkflowConfig = field(default_factory=WorkflowConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    loss_function: LossFunction = LossFunction.softmax
    """What is minimised."""
    layers: Any = None  # a mapping would not merge with the list of a conf file
    """The layers from first to last: a mapping from names to settings, or a list as in VELES."""
    lr_adjuster: LearningRateConfig = field(default_factory=LearningRateConfig)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    snapshotter: SnapshotterConfig = field(default_factory=SnapshotterConfig)
    restore: RestoreConfig = field(default_factory=RestoreConfig)

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1, "threads")
        if self.mode is Mode.evaluate and not self.snapshot:
            raise ConfigError("mode=evaluate scores a snapshot: name it with snapshot=FILE or snapshot=latest")


def from_hydra(node: DictConfig) -> Config:
    """Returns the checked configuration that Hydra composed.

    Raises:
        ConfigError: a value is wrong.
    """
    node = node.copy()
    # References to a connection string are resolved when it is used: what is resolved here would be saved.
    odbc, node.snapshotter.odbc = node.snapshotter._get_node("odbc")._value(), None
    try:
        config: Config = OmegaConf.to_object(node)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    config.layers = normalized_layers(config.layers)
    config.snapshotter.odbc = odbc
    return config


def plain(config: Config) -> dict[str, Any]:
    """Returns the configuration as plain data, as snapshots keep it."""
    node = OmegaConf.structured(config)
    container: dict[str, Any] = OmegaConf.to_container(node, resolve=False, enum_to_str=True)  # type: ignore[assignment]
    return container


def normalized_layers(layers: Any) -> dict[str, dict[str, Any]]:
    """Returns checked layers by name, from first to last, each as a flat mapping with all its settings.

    VELES's form is understood: a list of mappings with `type`, `->`, `<-` and `name`.

    Raises:
        ConfigError: a layer is of an unknown type, or has an unknown key or a wrong value.
    """
    if isinstance(layers, DictConfig | ListConfig):
        layers = OmegaConf.to_container(layers)
    layers = layers if isinstance(layers, Mapping) else named_layers(() if layers is None else layers)
    for name, settings in layers.items():
        if isinstance(settings, Mapping) and settings.get("type") is None:
            others = known(key for key, value in layers.items() if isinstance(value, Mapping) and value.get("type"))
            raise ConfigError(f"layers.{name} has no type: give layers.{name}.type, or name one of the layers {others}")
    return {str(name): _layer(str(name), settings) for name, settings in layers.items()}


def layer_sides(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the settings of the forward and of the backward side of a normalized layer."""
    forward, backward = LAYER_CONFIGS[settings["type"]]
    return _pick(forward, settings), _pick(backward, settings)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with keys such as `layers.fc1.learning_rate`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def named_layers(layers: Any) -> dict[str, Mapping[str, Any]]:
    """Returns the layers of a list in VELES's form by name: their `name`, or type and position.

    Raises:
        ConfigError: no list of mappings, or two layers of one name.
    """
    if not isinstance(layers, list | tuple):
        raise ConfigError(f"layers={layers!r} must be a mapping from names to settings, or a list of mappings with a type")
    named: dict[str, Mapping[str, Any]] = {}
    for number, layer in enumerate(layers, 1):
        if not isinstance(layer, Mapping):
            raise ConfigError(f"layers has {layer!r}, which is no mapping with a type")
        name = str(layer.get("name") or f"{layer.get('type')}{number}")
        if name in named:
            raise ConfigError(f"layers has two layers named {name!r}: give each a name of its own")
        named[name] = {key: value for key, value in layer.items() if key != "name"}
    return named


def _layer(name: str, settings: Any) -> dict[str, Any]:
    flat = dict(_mapping(f"layers.{name}", settings))
    kind = flat.pop("type", None)
    if not isinstance(kind, str) or kind not in LAYER_CONFIGS:
        raise ConfigError(f"layers.{name}.type={kind!r} is not a type of layer; known: {known(LAYER_CONFIGS)}")
    for arrow in ("->", "<-"):
        # A flat key goes before: it may have been typed over a conf file in VELES's form.
        flat = dict(_mapping(f"layers.{name}.{arrow}", flat.pop(arrow, None))) | flat
    merged: dict[str, Any] = {"type": kind}
    sides = LAYER_CONFIGS[kind]
    for side in sides:
        merged |= _checked(f"layers.{name}", side, {key: flat.pop(key) for key in _names(side) if key in flat})
    if flat:
        keys = known(key for side in sides for key in _names(side))
        raise ConfigError(f"layers.{name}.{min(map(str, flat))} is not a key of a {kind!r} layer; known: {keys}")
    return merged


def _mapping(where: str, value: Any) -> Mapping[Any, Any]:
    """Returns a mapping, an empty one for None."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{where}={value!r} must be a mapping of settings")
    return value or {}


def _checked(where: str, schema: type, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values with their types checked and the defaults filled in."""
    node = OmegaConf.structured(schema)
    for key, value in values.items():
        try:
            OmegaConf.update(node, key, value)
        except (OmegaConfBaseException, ConfigKeyError) as error:
            raise ConfigError(f"{where}.{key}={value!r} is wrong: {_first_line(error)}") from error
    try:
        OmegaConf.to_object(node)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    container: dict[str, Any] = OmegaConf.to_container(node, enum_to_str=True)  # type: ignore[assignment]
    return container


def _names(schema: type) -> list[str]:
    return [item.name for item in fields(schema)]


def _pick(schema: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in _names(schema)}


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
