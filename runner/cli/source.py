"""The snapshot that a job starts from: which it is, how far it is trusted, and what its own configuration is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from runner import config as schema
from runner.checks import first_line
from runner.cli import authority, conf_places
from runner.cli.named import named_location
from runner.cli.newest import find_newest
from runner.cli.overrides import is_choice
from runner.cli.request import Request
from runner.config import Config
from runner.config.config import MODEL
from runner.errors import ConfigError, SnapshotMismatchError
from runner.flat import flattened
from runner.graph import Workflow
from runner.misfits import MISFITS
from runner.nn import StandardWorkflow
from runner.snapshots.claims import Claims
from runner.snapshots.restoring.restore import Restored, restore_with
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.stores.location import SCHEME
from runner.snapshots.unpickling.allowed.entries import GIVEN
from runner.targets import TARGET, with_names


def find_snapshot(node: DictConfig, request: Request, claims: Claims) -> Restored | None:
    """Restores what `snapshot` names; None means a fresh start.

    Raises:
        SnapshotNotFoundError: there is none, and it was asked for.
        SnapshotMismatchError: it is of another workflow than the conf file.
        RunInUseError: it is of a run that another process goes on with.
    """
    source = node.snapshot
    if not source:
        return None
    policy = policy_of(node)
    wanted = request.workflow_name(node)
    if source in ("latest", "auto"):
        return find_newest(node, request, policy, claims)
    restored = restore_with(named_location(node, request), policy)
    if request.conf is not None and restored.header.workflow != wanted:
        raise SnapshotMismatchError(
            f"snapshot {restored.location!r} is of workflow {restored.header.workflow!r}, and conf={request.conf} is"
            f" {wanted!r}: leave conf out, or name a snapshot of {wanted!r}"
        )
    return restored


def policy_of(node: DictConfig) -> Policy:
    """Returns how far the call trusts a snapshot."""
    settings = node.restore
    trusted = (*settings.trusted, *named_modules(node), *named_targets(node))
    kept_code = settings.code == "snapshot"
    return Policy(settings.trust, trusted, settings.key, dict(settings.renamed), settings.max_bytes, kept_code)


def named_modules(node: DictConfig) -> list[str]:
    """Returns the modules of the classes that the user names with `_target_`, in a conf file or on the command line.

    They are run anyway, so that a snapshot may hold their classes. Of a workflow it is the package that its module is in: a
    workflow is made of the units around it. What a snapshot says that its classes are does not count: its own configuration
    is not looked at.
    """
    settings: Any = OmegaConf.to_container(node, resolve=False)
    workflow = str(settings["workflow"].pop(TARGET) or "").rpartition(".")[0]
    modules = {workflow.rpartition(".")[0] or workflow, *(target.rpartition(".")[0] for target in _targets(settings))}
    return sorted(module for module in modules if _is_declarable(module))


def named_targets(node: DictConfig) -> list[str]:
    """Returns the full names that the user types with `_target_`: what a snapshot may have called if it names the same."""
    settings: Any = OmegaConf.to_container(node, resolve=False)
    return sorted({target for target in _targets(settings) if _is_declarable(target)})


def _targets(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == TARGET and isinstance(value, str):
                yield value
            else:
                yield from _targets(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _targets(value)


def _is_declarable(module: str) -> bool:
    first, *_ = parts = module.split(".")
    return first not in GIVEN and all(part.isidentifier() for part in parts)


def snapshot_config(restored: Restored, call: DictConfig, request: Request) -> DictConfig:
    """Returns the configuration that a snapshot was made with, as far as this call lets it speak.

    Raises:
        ConfigError: it refers to the environment as only the snapshot says.
        SnapshotMismatchError: it is not of this version.
    """
    try:
        config = authority.obeyed(restored.header.config, call, request.typed_keys, request.named_snapshot)
        config = with_names(config, call.restore.renamed)
        node: DictConfig = OmegaConf.merge(OmegaConf.structured(Config), config)  # type: ignore[assignment]
        schema.settle_layers(node)
        return node
    except MISFITS as error:
        raise SnapshotMismatchError(f"the configuration in the snapshot is not of this version: {first_line(error)}") from error


def as_named(restored: Restored, request: Request) -> str:
    """Returns where a snapshot is, in the words of the call if that names a database."""
    return request.named_snapshot if request.named_snapshot.startswith(SCHEME) else restored.location


def differing(before: DictConfig, now: DictConfig) -> list[str]:
    """Returns the keys with different values in two configurations, without resolving anything."""
    was, values = authority.flat(before), authority.flat(now)
    return [key for key in was | values if was.get(key) != values.get(key)]


def overridden(node: DictConfig, overrides: list[str], call: DictConfig) -> DictConfig:
    """Returns the configuration with what was typed over it.

    Args:
        node: the snapshot's.
        overrides: what was typed.
        call: the configuration that this call has without the snapshot, from which options of groups are taken.

    Raises:
        ConfigError: an override does not fit it.
    """
    result = node.copy()
    parsed = OverridesParser.create().parse_overrides(overrides)
    has_model = MODEL in result.layers and any(_is_of_model(override.key_or_group) for override in parsed)
    for override in parsed:
        key = override.key_or_group
        if override.is_delete():
            # A run that was typed without something does not have it. A model that took the place of layers is a layer since.
            if OmegaConf.select(result, key) and not (key == "layers" and has_model):
                raise ConfigError(f"{override.input_line}: what a snapshot has cannot be taken away")
            continue
        value = override.value()
        if is_choice(key, str(value)):
            if key not in call:
                _take_option(result, str(override.input_line), call)
                continue
            value = call[key]
        if has_model and _is_of_model(key):
            key = f"layers.{key}"
        try:
            with open_dict(result.layers):
                OmegaConf.update(result, key, value)
        except MISFITS as error:
            raise ConfigError(f"{override.input_line}: {first_line(error)}") from error
    return result


def _take_option(node: DictConfig, typed: str, call: DictConfig) -> None:
    """Gives a configuration the keys that an option of a group sets which is no key itself, with the values of this call."""
    group, _, names = typed.lstrip("+").partition("=")
    keys = [key for name in names.split(",") for key in conf_places.option_keys(group, name.strip())]
    if not keys:
        raise ConfigError(f"{typed}: it does not say which keys it sets, so it cannot be over a snapshot: type the keys")
    written = flattened(OmegaConf.to_container(call, resolve=False))  # type: ignore[arg-type]
    with open_dict(node.layers):
        for key in keys:
            if key in written:
                OmegaConf.update(node, key, written[key])


def _is_of_model(key: str) -> bool:
    return key.partition(".")[0] == MODEL


def allow_changed_data(workflow: Workflow, allow: bool) -> None:
    """Lets a restored network have other data than those that it was trained on, or not."""
    if isinstance(workflow, StandardWorkflow):
        workflow.loader.allow_changed_data_ = allow
