"""Weights of another run, or of another program, with which a network begins."""

from __future__ import annotations

import logging
import pickle
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from runner import places
from runner.checks import known
from runner.datasets.files import needs, seen_from
from runner.errors import ConfigError, SnapshotError
from runner.nn.inference.bare_weights import read_tensors
from runner.nn.inference.torch_files import SUFFIXES, read_tensors_of_torch
from runner.snapshots.stores import store_of

log = logging.getLogger(__name__)

SHOWN = 8
"""Names that a line has."""
_WITHIN = re.compile(r"(?<=\.)(_modules|_parameters|_buffers)\.")
"""What snapshots have between the names of modules."""


def begin_with(path: str, own: Mapping[str, Tensor]) -> None:
    """Copies the tensors of a file into those of a network that have the same name and shape, and says which these are.

    Names are those of the network, such as `model.head.weight`, or of its one module, such as `head.weight`; the latter may be
    within something else, as `net.head.weight` is in a Lightning module.

    Args:
        path: a snapshot, or a file of tensors: .safetensors, .pt, .pth or .ckpt.
        own: what the network has, by name.

    Raises:
        ConfigError: the file cannot be read, or nothing in it fits.
    """
    found = {_name(name): value for name, value in _read(path).items()}
    if not found:
        raise ConfigError(f"init_from={path!r} has no tensors")
    found = _within(found) | found
    given = {name: value for name in own if (value := _of(name, found)) is not None}
    fitting = {name: value for name, value in given.items() if value.shape == own[name].shape}
    if not fitting:
        raise ConfigError(
            f"init_from={path!r}: none of its tensors ({known(list(found)[:SHOWN])}) has name and shape of one of the network"
            f" ({known(list(own)[:SHOWN])})"
        )
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(value)
    log.info("init_from=%s: %d of %d tensors of the network begin as in the file", path, len(fitting), len(own))
    other = [f"{name} {_shape(given[name])} there, {_shape(own[name])} here" for name in given if name not in fitting]
    _tell("Not taken, since the shape is another", other)
    _tell("Not in the file", [name for name in own if name not in given])


def _tell(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        log.warning("%s: %s%s", what, ", ".join(names[:SHOWN]), more)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "1"


def _name(name: str) -> str:
    """Returns the name that a tensor has in a network, of that in a snapshot, in an export, or in a file of torch."""
    plain = _WITHIN.sub("", name.removeprefix("layers."))
    layer, _, rest = plain.partition(".")
    return rest if layer == "module" else f"{layer}.{rest.removeprefix('module.')}" if rest else layer


def _of(name: str, found: Mapping[str, Tensor]) -> Tensor | None:
    """Returns what a file has for a name: the name of a parameter alone may lack that of its layer."""
    return found.get(name, found.get(name.partition(".")[2]))


def _within(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of modules by their names without the first part, where only one has each."""
    names = [name.partition(".")[2] for name in found]
    times = Counter(names)
    return {name: value for name, value in zip(names, found.values(), strict=True) if "." in name and times[name] == 1}


def _read(path: str) -> dict[str, Tensor]:
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"init_from={path!r} is not a file{seen_from(file)}")
    try:
        if file.suffix == ".safetensors":
            with needs("safetensors", "a .safetensors file"):
                from safetensors.torch import load_file
            tensors: dict[str, Tensor] = load_file(file)
            return tensors
        if file.suffix in SUFFIXES:
            return read_tensors_of_torch(file)
        store, location = store_of(path)
        return read_tensors(store.open(location))[1]
    except SnapshotError as error:
        raise ConfigError(f"init_from={path!r}: {error}") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:  # of torch
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise ConfigError(f"init_from={path!r} {f'names {named[1]}, which is refused' if named else 'is damaged'}") from error
    except (ConfigError, OSError):
        raise
    except Exception as error:  # what reads a file of another program may fail in any way
        raise ConfigError(f"init_from={path!r} cannot be read: {places.told(error)}") from error
