"""`veles-run import FILE`: a configuration of VELES as a conf file, which keeps VELES's words and their meaning."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from runner import shell
from runner.checks import choices, known
from runner.cli import conf_files
from runner.cli.first_words import COMMANDS
from runner.cli.overrides import as_override
from runner.cli.starting.new_files import literal, write_new
from runner.cli.starting.veles_changes import COMMON, LOADER
from runner.cli.starting.veles_source import Left, VelesSource, read
from runner.config.veles import translated
from runner.config.veles.keys import DROPPED
from runner.config.veles.translation import UNKNOWN
from runner.errors import ConfigError
from runner.text import shown


def import_(file: str, *, to: str | None, datasets: str | None, root: str | None) -> int:
    """Writes the conf file, and says what could not be turned, with the lines; returns the exit code.

    Args:
        file: the configuration.
        to: the conf file; None: `conf/NAME.yaml`, after the configuration's name.
        datasets: the folder that `root.common.dirs.datasets` is; None: unknown.
        root: which section of `root`, where there are several; None: the only one.

    Raises:
        ConfigError: the file cannot be read, is not a configuration of VELES's, or the conf file is there already.
    """
    path = _path(file, to)
    source = read(file, datasets)
    section = _section(file, source, root)
    content = {key: value for key, value in source.sections.items() if key == COMMON} | source.sections[section]
    left = [piece for piece in source.left if _counts(piece, section)]
    _drop_unknown_without_effect(content)
    if LOADER not in content:
        raise ConfigError(
            f"{shown(file)}: root.{section} has no {LOADER!r}, so its network is built by Python code: docs/veles.md has what"
            " there is to do"
        )
    write_new(path, _text(file, section, content, left))
    print(f"{path} is written, from root.{section} of {shown(file)}")
    faults = [f"{shown(file)}:{piece.line}: {_told(piece, section)}" for piece in left]
    if not left:
        faults += _refused(path, content)
    for fault in faults:
        print(f"veles-run: {fault}", file=sys.stderr)
    if faults:
        print(f"\nWrite what is missing into {path}, and then:\n  {_command(path)}")
        return 1
    print(f"\nLook at it in the words of veles-run, and run it:\n  {_command(path)} --cfg job\n  {_command(path)}")
    return 0


def _path(file: str, to: str | None) -> Path:
    if to is not None:
        path = Path(to)
        if path.suffix not in conf_files.SUFFIXES:
            raise ConfigError(f"--to={to!r} is not the name of a conf file: it ends in {' or '.join(conf_files.SUFFIXES)}")
    else:
        name = re.sub(r"\W", "_", Path(file).stem.removesuffix("_config"), flags=re.ASCII) or "veles"
        path = Path(conf_files.CONF, f"{name}.yaml")
    if path.exists():
        raise ConfigError(f"{shown(path)} is there already, and is left as it is: --to CONF names another")
    return path


def _section(file: str, source: VelesSource, root: str | None) -> str:
    """Returns the name of the section that describes the workflow."""
    names = [name for name, value in source.sections.items() if name != COMMON and isinstance(value, dict)]
    if root is not None:
        if root not in names:
            raise ConfigError(f"--root={root!r}: {shown(file)} sets no such section of root; {choices(root, names)}")
        return root
    if not names:
        raise ConfigError(
            f"{shown(file)} sets nothing below root, as in root.mnist.update({{...}}): it is not a configuration of VELES"
        )
    if len(names) > 1:
        raise ConfigError(f"{shown(file)} sets several sections of root, {known(names)}: --root NAME says which one")
    return names[0]


def _counts(piece: Left, section: str) -> bool:
    """Whether what was not turned may change the run: not what belongs to another section, or to a key without effect."""
    if not piece.key:
        return True
    top, _, key = piece.key.partition(".")
    key = piece.key if top == COMMON else key
    return top in (section, COMMON) and not any(
        key == dropped or key.startswith((f"{dropped}.", f"{dropped}[")) for dropped in DROPPED
    )


def _drop_unknown_without_effect(content: dict[str, Any]) -> None:
    """Takes away keys that have no effect here, and parts of whose values are unknown."""
    for key in DROPPED:
        *sections, name = key.split(".")
        holder: Any = content
        for section in sections:
            holder = holder.get(section) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and UNKNOWN in repr(holder.get(name)):
            del holder[name]


def _text(file: str, section: str, content: dict[str, Any], left: list[Left]) -> str:
    body: str = yaml.safe_dump(literal(content), width=math.inf, sort_keys=False, allow_unicode=True, default_flow_style=None)
    notes = [f"# line {piece.line}: {_told(piece, section)}" for piece in left]
    head = [f"# root.{section} of {shown(Path(file).name)}, in VELES's words and with their meaning."]
    if left:
        head += ["# Only Python could tell what stands in these lines: write the values in the place of ???.", *notes]
    return "\n".join([*head, body])


def _told(piece: Left, section: str) -> str:
    key = piece.key.removeprefix(f"{section}.")
    return f"{key} = {piece.what}" if key else piece.what


def _refused(path: Path, content: dict[str, Any]) -> list[str]:
    """Returns what of the dictionary has no counterpart here."""
    try:
        translated(content)
    except ConfigError as error:
        return [f"{path}: {error}"]
    return []


def _command(path: Path) -> str:
    name = path.stem if path.parent == Path(conf_files.CONF) and path.suffix == ".yaml" else str(path)
    is_word = path.stem.isidentifier() and name not in COMMANDS
    return shell.join(["veles-run", name if is_word else as_override("conf", name)])
