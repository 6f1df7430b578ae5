"""The code and the package versions that made a snapshot."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sys
from functools import cache
from pathlib import Path

from runner.graph import Workflow

PACKAGES = ("veles-runner", "torch", "numpy", "hydra-core")


@cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that affect results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code(workflow: Workflow) -> dict[str, str]:
    """Returns the SHA-256 of the source of each module that defines a unit of the workflow."""
    modules = sorted({type(unit).__module__ for unit in [workflow, *workflow.units]})
    return {module: digest for module in modules if (digest := _source_digest(module))}


@cache
def _source_digest(module: str) -> str | None:
    path = getattr(sys.modules.get(module), "__file__", None)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None
