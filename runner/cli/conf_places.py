"""Where a key stands in the conf files that a command reads: the place of a message, `conf/mine.yaml:7`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from runner.cli import conf_files
from runner.cli.overrides import is_choice, overrides_of
from runner.errors import ConfigError
from runner.flat import flattened

_KEY = re.compile(r"([A-Za-z_]\w*(?:\.\w+|\[\d+\])*)(?:[=:]|\s|$)")
"""How a message begins that is about a key."""
_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")
"""How a conf file begins that says where its keys belong."""


@contextmanager
def told(typed: Sequence[str]) -> Iterator[None]:
    """Has errors of the configuration say in which conf file, and where in it, the key stands that they are about.

    Args:
        typed: the overrides that were typed. What they say, no conf file has said.
    """
    try:
        yield
    except (ConfigError, OmegaConfBaseException) as error:
        key = _key_of(error)
        if not _is_typed(key, typed) and (place := _place(key)) is not None:
            error.add_note(place)
        raise


def _is_typed(key: str, overrides: Sequence[str]) -> bool:
    """Whether overrides say anything of a key; to choose an option of a group is to name a file."""
    values = (text.lstrip("+~").partition("=")[::2] for text in overrides)
    typed = [name for name, value in values if not is_choice(name, value)]
    return any(_is_within(key, other) or _is_within(other, key) for other in typed)


def _key_of(error: ConfigError | OmegaConfBaseException) -> str:
    """Returns the key that an error is about: messages begin with it."""
    if isinstance(error, OmegaConfBaseException):
        return str(error.full_key or "")
    found = _KEY.match(str(error))
    return found[1] if found else ""


def line_of(config_path: str, key: str) -> str:
    """Returns a conf file as the place of a message, with the line of a key, or of the nearest above it that the file has."""
    path = _file(config_path)
    if path is None:
        return config_path
    lines = _lines(path, [key]) or _lines(path, _parts(key))  # a key with dots may stand there as one word
    return f"{os.path.relpath(path)}:{lines[-1]}" if lines else os.path.relpath(path)


def option_keys(group: str, name: str) -> list[str]:
    """Returns the keys that an option of a config group sets, as far as it says where it belongs (`# @package`)."""
    path = _file(f"{group}/{name}")
    text = "" if path is None else path.read_text(encoding="utf-8")
    package, content = _PACKAGE.match(text), yaml.load(text, get_yaml_loader())
    if package is None or not isinstance(content, dict):
        return []
    above = "" if package[1] == "_global_" else f"{package[1]}."
    return [f"{above}{key}" for key in flattened(content) if key != "defaults"]


def _place(key: str) -> str | None:
    """Returns where the value of a key comes from: the last of the command's conf files that has it, or the most of it.

    A key that is missing, or that was given its name when a list was read, is looked for in the section that it is in.
    """
    if not key:
        return None
    hydra = HydraConfig.get()
    found = (
        GlobalHydra.instance().config_loader().compute_defaults_list(hydra.job.config_name, overrides_of(hydra), RunMode.RUN)
    )
    best, depth = None, 0
    for item in found.defaults:
        path, package = _own_file(str(item.config_path)), f"{item.package}." if item.package else ""
        if path is None or not key.startswith(package):
            continue
        lines = _lines(path, _parts(key.removeprefix(package)))
        if lines and len(_parts(package)) + len(lines) >= depth:
            best, depth = f"{os.path.relpath(path)}:{lines[-1]}", len(_parts(package)) + len(lines)
    return best


def _is_within(key: str, section: str) -> bool:
    return key == section or key.startswith((f"{section}.", f"{section}["))


def _parts(key: str) -> list[str]:
    return re.findall(r"[^.\[\]]+", key)


def _own_file(config_path: str) -> Path | None:
    """Returns the file of a config, unless it is the application itself, or one of the package's: they need no mending."""
    path = _file(config_path) if conf_files.is_named(config_path) else None
    is_bundled = path is not None and path.is_relative_to(conf_files.bundled() / conf_files.CONF)
    return None if is_bundled and conf_files.bundled() != Path.cwd() else path


def _file(config_path: str) -> Path | None:
    """Returns the file of a config, here or in the package."""
    files = ((root, conf_files.file(config_path, str(root))) for root in (Path.cwd(), conf_files.bundled()))
    places = (Path(root, name if name.endswith(conf_files.SUFFIXES) else f"{name}.yaml") for root, name in files)
    return next((path for path in places if path.is_file()), None)


def _lines(path: Path, parts: Sequence[str]) -> list[int]:
    """Returns the line of a key, behind those of the sections that it is in, as far as the file has them."""
    node, lines = yaml.compose(path.read_text(encoding="utf-8"), Loader=get_yaml_loader()), list[int]()
    for name in parts:
        if isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
            node = node.value[int(name)]
            lines.append(node.start_mark.line + 1)
            continue
        found = [pair for pair in getattr(node, "value", ()) if isinstance(pair, tuple) and pair[0].value == name]
        if not found:
            break
        lines.append(found[0][0].start_mark.line + 1)
        node = found[0][1]
    return lines
