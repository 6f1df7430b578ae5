"""The code and the package versions that made a snapshot."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from runner import passwords
from runner.graph import Unit, Workflow
from runner.snapshots.kept_code import LIMIT, ORIGIN, KeptCode, file_of
from runner.snapshots.unpickling.soundness import all_units

log = logging.getLogger(__name__)

GIT_LIMIT = 5.0
"""Seconds that git may take."""
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
    """Returns the SHA-256 of the source of each module that defines a unit of the workflow, or what a unit is made of."""
    names = sorted({type(unit).__module__ for unit in [workflow, *workflow.units]} | set(filter(_is_own, _modules(workflow))))
    return {name: digest for name in names if (module := sys.modules.get(name)) and (digest := _source_digest(module))}


@cache
def _source_digest(module: ModuleType) -> str | None:
    source = _source(module)
    return None if source is None else hashlib.sha256(source).hexdigest()


def _source(module: ModuleType) -> bytes | None:
    """Returns the source of a module that was imported: from its file, or from code that was kept with a snapshot."""
    if (path := getattr(module, "__file__", None)) is not None:
        return Path(path).read_bytes()
    spec = getattr(module, "__spec__", None)
    if spec is None or not str(spec.origin).startswith(ORIGIN):
        return None
    return str(spec.loader.get_source(module.__name__)).encode()


def kept_code(workflow: Workflow, conf: str | None) -> KeptCode | None:
    """Returns the user's own code that a workflow is made of; None if there is none.

    That is the source of each module that defines a class of one of its units, or of what a unit holds, such as a network of
    torch or an optimizer, and is neither veles-run's, nor Python's, nor of an installed package; of packages, their
    `__init__`; and the conf file, if it is the user's.

    Args:
        workflow: the workflow.
        conf: the name of the conf file, or its path.
    """
    own_conf = _conf(conf)
    room = LIMIT - (len(own_conf[1].encode()) if own_conf else 0)
    files, modules, paths, left_out = dict[str, str](), dict[str, str](), list[Path](), list[str]()
    for name in _own_modules(workflow):
        module = sys.modules[name]
        if (source := _source(module)) is None:
            continue
        file = file_of(name, hasattr(module, "__path__"))
        if len(source) > room:
            left_out.append(file)
            continue
        room -= len(source)
        files[file], modules[name] = source.decode(errors="replace"), file
        if (path := getattr(module, "__file__", None)) is not None:
            paths.append(Path(path).resolve())
    if not files and own_conf is None:
        return None
    commit, changes = _git(paths)
    if len(changes.encode()) > room:
        left_out.append("the difference from the commit")
        changes = ""
    if left_out:
        log.warning("There is no room for all code with the snapshots (%d bytes): without %s", LIMIT, ", ".join(left_out))
    return KeptCode(files, modules, own_conf, commit, changes, tuple(left_out))


def _own_modules(workflow: Workflow) -> list[str]:
    """Returns the user's modules that define what a workflow is made of, each after the packages that it is in."""
    names = sorted(_modules(workflow))
    return [name for name in dict.fromkeys(part for module in names for part in (*_parents(module), module)) if _is_own(name)]


def _modules(workflow: Workflow) -> set[str]:
    """Returns the names of the modules that define the classes of the units and of what these hold."""
    held = {type(value) for unit in all_units(workflow) for value in (unit, *_held(unit))}
    return {base.__module__ for cls in held for base in cls.__mro__}


def _held(unit: Unit) -> Iterator[object]:
    """Yields what the state of a unit holds; of a network of torch, the networks within it, too."""
    torch = sys.modules.get("torch")
    for name, value in vars(unit).items():
        if name.endswith("_"):
            continue
        if torch is not None and isinstance(value, torch.nn.Module):
            yield from value.modules()
        else:
            yield value


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _is_own(module: str) -> bool:
    """Whether a module is the user's own."""
    if module not in sys.modules or module.partition(".")[0] in ("runner", *sys.stdlib_module_names, *sys.builtin_module_names):
        return False
    path = getattr(sys.modules[module], "__file__", None)
    return path is None or (str(path).endswith(".py") and not {"site-packages", "dist-packages"} & {*Path(path).parts})


def _conf(conf: str | None) -> tuple[str, str] | None:
    """Returns the name and the text of a conf file in the user's own folder, with passwords masked."""
    if conf is None:
        return None
    for path in (Path("conf", f"{conf}.yaml"), Path(conf)):
        if path.suffix in (".yaml", ".yml") and path.is_file() and path.stat().st_size < LIMIT // 2:
            return re.sub(r"[^\w.+-]", "_", path.name, flags=re.ASCII), passwords.redact(path.read_text(errors="replace"))
    return None


def _git(paths: Sequence[Path]) -> tuple[str | None, str]:
    """Returns the commit that the files were checked out from, and how they differ from it."""
    commit = _answer(paths[0].parent if paths else Path.cwd(), "rev-parse", "HEAD")
    if commit is None:
        return None, ""
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--")
    changes = [_answer(path.parent, "diff", *options, str(path)) or "" for path in paths]
    return commit.strip(), passwords.redact("".join(changes))


@cache
def _answer(folder: Path, *arguments: str) -> str | None:
    """Returns what Git says, once in a process: the modules are in memory since it began. None if it says nothing.

    Hooks, monitors and converters that the repository configures are not run for it, but the filters of its files are.
    """
    options = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *options, *arguments], capture_output=True, timeout=GIT_LIMIT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
