"""What the shell offers when Tab is pressed: confs, keys, values of enumerations, options of groups, and paths."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from runner.cli import conf_files, groups, keys_help
from runner.cli.first_words import COMMANDS
from runner.cli.overrides import SNAPSHOT_FLAGS, normalize
from runner.config import Config
from runner.errors import RunnerError
from runner.snapshots.stores.location import SNAPSHOT_WORDS

FLAGS = ("--help", "--version", "--multirun", "--cfg", "--info", *SNAPSHOT_FLAGS)
WORDS = {
    "snapshot": SNAPSHOT_WORDS,
    "device": ("auto", "cpu", "cuda"),
    "plotters": ("true", "false"),
    "report": ("true", "false"),
}


def choices(line: str) -> list[str]:
    """Returns what the last word of a command line can become.

    Args:
        line: the line as it stands before the cursor, with the name of the program.
    """
    _, *words = line.split() or [""]
    word = "" if line.endswith(" ") or not words else words.pop()
    if words and words[-1] in SNAPSHOT_FLAGS:
        return _paths(word)
    if words and words[0] in COMMANDS:
        return [option for option in (*COMMANDS[words[0]], "--help") if word and option.startswith(word)] or _paths(word)
    key, equals, value = word.partition("=")
    if equals:
        head, comma, last = value.rpartition(",")
        return [f"{key}={head}{comma}{found}" for found in _values(key.lstrip("+"), last)]
    offered = (
        [*FLAGS]
        if word.startswith("-")
        else [*_keys(words), *(f"{group}=" for group in (conf_files.CONF, *conf_files.groups()))]
    )
    if not any("=" not in word.removeprefix("conf=") and not word.startswith("-") for word in words):
        offered += [*conf_files.options(conf_files.CONF), *_paths(word, conf_files.SUFFIXES)]
    if not words:
        offered += COMMANDS
    return sorted({found for found in offered if found.startswith(word)})


def _values(key: str, begun: str) -> list[str]:
    if key == conf_files.CONF or conf_files.is_group(key):
        offered = [*conf_files.options(key), *(_paths(begun, conf_files.SUFFIXES) if key == conf_files.CONF else ())]
        return sorted(found for found in offered if found.startswith(begun))
    hints = get_type_hints(Config)
    for name in key.split("."):
        found = hints.get(name)
        hints = get_type_hints(found) if hasattr(found, "__dataclass_fields__") else {}
    if isinstance(found, type) and issubclass(found, Enum):
        return [item.value for item in found if item.value.startswith(begun)]
    words = ("true", "false") if bool in (found, *get_args(found)) else WORDS.get(key, ())
    return [word for word in words if word.startswith(begun)] + (
        [] if key in ("device", "plotters", "report") else _paths(begun)
    )


def _keys(words: Sequence[str]) -> Iterator[str]:
    """Yields the keys of the conf that the line names, as far as it can be read."""
    typed = [word for word in words if not word.startswith("-")]
    for arguments in (typed, ()):
        with contextlib.suppress(RunnerError, HydraException, OmegaConfBaseException, OSError, ValueError):
            node: DictConfig = keys_help.composed(groups.settled(normalize(arguments)))
            yield from [f"{key.name}=" for key, _ in keys_help.described(node)]
            return


def _paths(begun: str, suffixes: tuple[str, ...] = ("",)) -> list[str]:
    """Returns the files that begin so, and the folders, which end with a slash."""
    name = begun.rpartition("/")[2]
    prefix = begun.removesuffix(name) if name else begun
    at = Path(prefix or os.curdir)
    with contextlib.suppress(OSError):
        found = [
            path for path in at.iterdir() if path.name.startswith(name) and not path.name.startswith("." if not name else "\0")
        ]
        shown = [f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in found]
        return sorted(text for text in shown if text.endswith(("/", *suffixes)))
    return []
