"""The configuration's schema. Nothing here imports the numerical library, so that `--help` does not wait for it."""

from runner.config.config import Config, LossFunction, Mode, Precision, checked_layers, from_hydra, plain
from runner.config.flat import flattened
from runner.config.identity import Identity
from runner.config.layers.network import layer_sides, named_layers, normalized_layers
from runner.config.snapshotting import SnapshotterConfig

__all__ = [
    "Config",
    "Identity",
    "LossFunction",
    "Mode",
    "Precision",
    "SnapshotterConfig",
    "checked_layers",
    "flattened",
    "from_hydra",
    "layer_sides",
    "named_layers",
    "normalized_layers",
    "plain",
]
