"""The configuration's schema. Nothing here imports the numerical library, so that `--help` does not wait for it."""

from runner.config.config import (
    Config,
    LossFunction,
    Mode,
    Precision,
    check_use,
    checked_layers,
    from_hydra,
    let_optimizer_take_over,
    plain,
    settle_layers,
)
from runner.config.identity import Identity
from runner.config.layers.network import layer_sides, named_layers, normalized_layers
from runner.config.snapshotting import SnapshotterConfig
from runner.flat import flattened

__all__ = [
    "Config",
    "Identity",
    "LossFunction",
    "Mode",
    "Precision",
    "SnapshotterConfig",
    "check_use",
    "checked_layers",
    "flattened",
    "from_hydra",
    "layer_sides",
    "let_optimizer_take_over",
    "named_layers",
    "normalized_layers",
    "plain",
    "settle_layers",
]
