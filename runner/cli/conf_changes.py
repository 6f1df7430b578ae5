"""What a conf file, or the environment, says otherwise than when a run began: the run keeps its own, and that is told."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import config as schema
from runner import passwords, shell
from runner.build import LAUNCH_KEYS
from runner.cli import authority
from runner.cli.authority import PLACES, PROCESS_KEYS
from runner.cli.overrides import as_override
from runner.cli.request import Request, keys_of
from runner.config import Config
from runner.config.layers.schema import LAYER_CONFIGS
from runner.errors import ConfigError
from runner.flat import is_reference
from runner.graph import Workflow
from runner.nn import StandardWorkflow, overriding
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.settings import SnapshotterSettings
from runner.snapshots.snapshotter import Snapshotter, snapshotters
from runner.snapshots.stores.file_system import read_mode
from runner.targets import TARGET
from runner.text import shown

log = logging.getLogger(__name__)

OPTIMIZERS = {"optimizer", f"optimizer.{TARGET}"}
"""Keys that choose an optimizer, which takes the place of settings of the layers."""
WORDS = {
    *("precision", "loss_function", "loader.normalization", "lr_adjuster.policy", "decision.monitor", "decision.mode"),
    *("decision.on_nan", "snapshotter.compression", "snapshotter.mode", "snapshotter.on_error", "snapshotter.on_unrestorable"),
}
"""Keys of which each takes a few words and refuses all others, so that none of them is a secret."""
SHOWN = 12
"""Keys that a message names at most."""


def referenced(node: DictConfig, config: Config) -> dict[str, Any]:
    """Returns what the references of a configuration stand for: numbers, truth values, null, and words of `WORDS`.

    Any other text is left out, since it may be a secret.

    Args:
        node: the configuration, unresolved.
        config: the same, resolved.
    """
    if not any(_references(node)):
        return {}
    values = schema.flattened(schema.plain(config))
    settled = node.copy()
    schema.settle_layers(settled)
    return {
        key: values[key]
        for key in _references(settled)
        if key in values and _is_plain(key, values[key]) and not passwords.is_secret(f"{key}=x")
    }


def _is_plain(key: str, value: object) -> bool:
    """Whether it is kept what a reference stood for: no secret, and not what each call says for itself."""
    if {key, key.partition(".")[0]} & LAUNCH_KEYS or key in PLACES.keys() - {"snapshotter.mode"}:
        return False
    if isinstance(value, str):
        return key in WORDS or (key.startswith("layers.") and value in LAYER_CONFIGS)
    return value is None or type(value) in (int, float, bool)


def _references(node: DictConfig) -> Iterator[str]:
    return (key for key, value in authority.flat(node).items() if is_reference(value))


def keep(before: DictConfig, restored: Restored) -> None:
    """Puts what the run has in place of references in its configuration that stand for something else today."""
    had = {key: value for key, value in restored.header.referenced.items() if _is_plain(key, value)}
    if isinstance(restored.workflow, StandardWorkflow):
        loader = restored.workflow.loader
        had |= {f"loader.{name}": getattr(loader, name) for name in loader.adjustable}
    for snapshotter in snapshotters(restored.workflow)[:1]:
        had |= _settings_of(snapshotter, OmegaConf.select(before, "snapshotter.mode"))
    written = schema.flattened(restored.header.config)
    for key in [key for key in had if is_reference(str(written.get(key)))]:
        if OmegaConf.select(before, key) != had[key]:
            OmegaConf.update(before, key, had[key])


def _settings_of(snapshotter: Snapshotter, mode: str | int | None) -> dict[str, Any]:
    """Returns the settings that a snapshotter was restored with, by their keys.

    Args:
        snapshotter: the snapshotter.
        mode: what its permissions are said to be; they stay spelled so if they are the same.
    """
    # One of an earlier version may lack some.
    found = schema.flattened({"snapshotter": vars(SnapshotterSettings()) | vars(snapshotter.settings)})
    if read_mode(mode) != snapshotter.mode:
        found["snapshotter.mode"] = None if snapshotter.mode is None else f"{snapshotter.mode:04o}"
    return found


def keep_fixed(before: DictConfig, now: DictConfig, restored: Restored) -> None:
    """Puts what the run has in place of references to what was typed, in keys that cannot change when a run goes on.

    `T_max: ${decision.max_epochs}` stays what it was, and is no reason to refuse `decision.max_epochs=8`.
    """
    written = authority.flat(now)
    for key, reference in authority.flat(before).items():
        if not is_reference(reference) or written.get(key) != reference:
            continue
        was, value = (OmegaConf.select(node, key) for node in (before, now))
        if was != value and not _can_change(restored.workflow, key):
            OmegaConf.update(now, key, was, force_add=True)


def check(before: DictConfig, now: DictConfig, request: Request, typed_before: Collection[str]) -> None:
    """Checks what was typed over a snapshot's configuration where it would be refused under a key that was not typed.

    Args:
        before: the snapshot's configuration.
        now: the same with what was typed.
        request: what was typed.
        typed_before: the keys that were typed for the run before.

    Raises:
        ConfigError: another optimizer would take the place of what updates the weights, or a default counts for no layer.
    """
    was, target = (authority.flat(node).get(f"optimizer.{TARGET}") for node in (before, now))
    if target != was:
        has = f"optimizer.{TARGET}={was}" if was else "the gradient descent of its layers"
        raise ConfigError(
            f"optimizer.{TARGET}={target}: what updates the weights is fixed once the network is built, so it cannot change on"
            f" resume; the run has {has}: leave it out, or start a fresh run without snapshot="
        )
    if now.model:
        raise ConfigError(
            f"model.{next(iter(now.model))} is fixed once the network is built, so it cannot change on resume: leave it out, or"
            " start a fresh run without snapshot="
        )
    again = {key for key in request.typed_keys if _is_among(key, typed_before) and _layers_have(now, key)}
    schema.checked_layers(now, {*request.typed_keys} - again)


def _is_among(key: str, typed: Collection[str]) -> bool:
    """Whether a key was typed, by itself or in a mapping."""
    return any(f"{key}.".startswith(f"{other}.") for other in typed)


def _layers_have(now: DictConfig, key: str) -> bool:
    """Whether a key of `layer_defaults` is what the layers have by now: the run began with it."""
    section, _, name = key.partition(".")
    names = [name] if section == "layer_defaults" and name else []
    return all(layer.get(each) in (None, now.layer_defaults[each]) for each in names for layer in now.layers.values())


def tell(run: DictConfig, call: DictConfig, restored: Restored, request: Request) -> None:
    """Warns of keys that the conf file of this call has otherwise than the run, and says how to have those that can change.

    Keys that were typed, now or for the run before, are not expected to be as in the conf file.

    Args:
        run: the configuration with which the run goes on.
        call: that of this call without the snapshot.
        restored: the snapshot.
        request: what was typed.
    """
    if request.conf is None:
        return
    try:
        said = schema.flattened(schema.plain(schema.from_hydra(call)))
    except ConfigError as error:
        log.warning("conf=%s is wrong (%s): the run keeps the configuration of the snapshot", request.conf, error)
        return
    has = schema.flattened(schema.plain(schema.from_hydra(run)))
    header = restored.header
    typed = {*header.typed, *keys_of(header.overrides), *request.typed_keys}
    keys = [key for key in has | said if said.get(key) != has.get(key) and not _is_expected(key, said, typed)]
    if keys:
        written, kept = authority.flat(call), authority.flat(run)
        changes = [
            f"{shown(key)} is {_text(key, said, written)} there, and {_text(key, has, kept)} in the run" for key in keys[:SHOWN]
        ]
        more = [f"{len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
        typable = [key for key in keys[:SHOWN] if key in said and _can_change(restored.workflow, key)]
        commands = " ".join(_override(key, written.get(key, said.get(key))) for key in typable)
        log.warning(
            "What conf=%s or the environment says is not what the run has, which it keeps: %s.%s%s",
            request.conf,
            "; ".join(changes + more),
            " What was fixed when the run began, only a fresh one has otherwise." if len(typable) < len(keys[:SHOWN]) else "",
            f" To have what is there, type: {commands}" if typable else "",
        )


def _can_change(workflow: Workflow, key: str) -> bool:
    return key.startswith("snapshotter.") or not isinstance(workflow, StandardWorkflow) or overriding.can_change(workflow, key)


def _is_expected(key: str, said: dict[str, Any], typed: set[str]) -> bool:
    if key.partition(".")[0] in PROCESS_KEYS or (key == "seed" and said.get(key) is None):
        return True
    section, _, name = key.rpartition(".")
    if section.startswith("layers.") and ({"layer_defaults", f"layer_defaults.{name}"} & typed or OPTIMIZERS & typed):
        return True  # it follows from what was typed
    return _is_among(key, typed)


def _text(key: str, values: dict[str, Any], written: dict[str, Any]) -> str:
    """Returns the value of a key as it is shown: what a reference stands for may be a secret if it is a text."""
    value, reference = values.get(key), written.get(key)
    if value is None:
        return "null" if key in values else "missing"
    value = reference if isinstance(value, str) and is_reference(str(reference)) else value
    return shown(passwords.redact(f"{key}={value}").removeprefix(f"{key}="))


def _override(key: str, value: Any) -> str:
    if isinstance(value, str):
        hidden = passwords.MASK in value or passwords.is_secret(f"{key}={value}")
        plain = f"{key}={value}" if is_reference(value) else as_override(key, value)
        return f"{key}=..." if hidden else shell.quote(plain)
    return shell.quote(f"{key}={_hydra(value)}")


def _hydra(value: Any) -> str:
    """Returns a value in Hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
