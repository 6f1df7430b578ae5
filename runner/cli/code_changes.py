"""Says how the code, the user's and that of packages, has changed since a snapshot."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path

from runner.config import Mode
from runner.errors import SnapshotError
from runner.snapshots.kept_code import KeptCode, counted
from runner.snapshots.restoring.restore import Restored

log = logging.getLogger(__name__)

BITS_DEPEND_ON = ("python", "torch", "numpy")


def warn(restored: Restored, mode: Mode) -> None:
    """Says which modules have changed since the snapshot; of a run that goes on, also which of the packages that make bits."""
    from runner.snapshots import provenance

    if mode is Mode.train:
        then, today = restored.header.versions, provenance.versions()
        others = [name for name in BITS_DEPEND_ON if name in then and then[name] != today.get(name)]
        if others:
            told = ", ".join(f"{name} was {then[name]} and is {today.get(name)}" for name in others)
            log.warning("%s: the run may go on to other bits than it would have", told)
    now = provenance.code(restored.workflow)
    changed = sorted(module for module, digest in restored.header.code.items() if now.get(module) != digest)
    if mode is not Mode.train:  # what a later version of this project scores is tested, and its version is in the header
        changed = [module for module in changed if module.partition(".")[0] != "runner"]
    if changed:
        told = ", ".join(f"{module}{_how_much(restored, module)}" for module in changed)
        so = "the run may go on differently" if mode is Mode.train else "the network may answer differently"
        log.warning("The code has changed since the snapshot (%s): %s", told, so)


def _how_much(restored: Restored, module: str) -> str:
    """Returns how much a module has changed, if its code is kept with the snapshot."""
    with suppress(SnapshotError, OSError):
        code = KeptCode.of(restored.header, restored.store)
        if (file := code.modules.get(module)) and (path := getattr(sys.modules.get(module), "__file__", None)):
            return f" {counted(code.files[file], Path(path).read_text(errors='replace'))}"
    return ""
