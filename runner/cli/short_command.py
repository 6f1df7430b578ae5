"""The short command that continues a run: the one that was typed, with `snapshot=latest` or `snapshot=best`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from runner import shell
from runner.cli.overrides import SECTIONS, as_override
from runner.cli.request import Request
from runner.config import Identity, from_hydra
from runner.config.identity import LIMITS
from runner.targets import TARGET


@dataclass(frozen=True)
class ShortCommand:
    """Makes the commands in which `latest` leads to this very run, where it does.

    Attributes:
        node: what Hydra has composed of the command that was typed.
        request: that command.
        name: the workflow's name.
        identity: the run's, as headers record it.
        seed: the run's.
    """

    node: DictConfig
    request: Request
    name: str
    identity: Mapping[str, Any]
    seed: int | None

    def __call__(self, keys: Mapping[str, object] | None = None, which: str = "latest") -> str | None:
        """Returns the command with further keys; None if `latest` might lead elsewhere, so that the file has to be named.

        Args:
            keys: the further keys.
            which: of the snapshots, `latest` or `best`.
        """
        keys = keys or {}
        if self.request.sweep or not self._is_searched() or not self._is_this_run(keys):
            return None
        # The snapshot has the limits, and no run is another one for their sake.
        left_out = {"conf", "snapshot", "mode", *LIMITS, *keys}
        kept = [text.lstrip("+") for text in self.request.typed if _key(text) not in left_out]
        command = shell.join(["veles-run", *self._conf(), *kept, f"snapshot={which}"])
        return " ".join([command, *(f"{key}={value}" for key, value in keys.items())])

    def _conf(self) -> list[str]:
        name = self.request.conf
        if name is None:
            return []
        return [name if re.fullmatch(r"[a-zA-Z]\w*", name) and name not in SECTIONS else as_override("conf", name)]

    def _is_searched(self) -> bool:
        """Whether the command looks where this run's snapshots are, and describes a run."""
        own = any(_key(text) == "hydra.run.dir" for text in HydraConfig.get().overrides.hydra)
        described = self.request.conf is not None or self.node.workflow[TARGET] is not None
        return described and (not own or bool(self.node.snapshotter.directory or self.node.snapshotter.odbc))

    def _is_this_run(self, keys: Mapping[str, object]) -> bool:
        with suppress(Exception):  # a key of a workflow of the user's own may be anything
            node = self.node.copy()
            for key, value in keys.items():
                OmegaConf.update(node, key, value, force_add=True)
            config, without = from_hydra(node), self.identity["identity_without"]
            if "seed" in without and config.seed not in (None, self.seed):
                return False
            return bool(Identity.of(config, self.name).digest(without) == self.identity["identity"])
        return False


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
