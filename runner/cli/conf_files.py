"""Where conf files are, and what they may say in `defaults`.

`conf/` of the current folder, or of the package, has a file for each conf, and a folder for each config group:
`conf/optimizer/adamw.yaml` is `optimizer=adamw`. A conf may also be the path of a file anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SUFFIXES = (".yaml", ".yml")
CONF = "conf"
PRIMARY = "veles-run"
"""The primary configuration. Hydra would take a file of this name below `hydra.searchpath`, so it is not called `config`."""

_PACKAGE = Path(__file__).parent.parent


def bundled() -> Path:
    """Returns the folder that holds the package's `conf`: the package itself, or the checkout that it is run from."""
    return _PACKAGE if (_PACKAGE / CONF).is_dir() else _PACKAGE.parent


def choice(name: str) -> str:
    """Returns what stands behind `conf=` for a name, or for the path of a file; one in `./conf` is called by its name."""
    path = Path(name)
    if path.suffix not in SUFFIXES:
        return name
    if path.parent == Path(CONF) or (not path.is_file() and Path(CONF, name).is_file()):
        return str(path.relative_to(CONF) if path.parent == Path(CONF) else path).removesuffix(".yaml")
    return os.path.normpath(name)


def title(choice: str) -> str:
    """Returns what a workflow is called after its conf: the name, or that of the file."""
    return Path(choice).stem if choice.endswith(SUFFIXES) else choice


def folder(config_path: str) -> str:
    """Returns the folder of a group, as Hydra calls it: groups are below `conf`, which is a group itself."""
    return config_path if config_path in ("", CONF) or config_path.startswith(f"{CONF}/") else f"{CONF}/{config_path}"


def is_named(config_path: str) -> bool:
    """Whether a config belongs to `conf/`, as opposed to the application itself."""
    return "/" in config_path


def file(config_path: str, root: str) -> str:
    """Returns the file of a config, relative to the folder that holds `conf`: below `conf`, or where a path leads."""
    path = config_path.removeprefix(f"{CONF}/")
    if path != config_path and path.endswith(SUFFIXES) and Path(root, path).is_file():
        return path
    return folder(config_path)


def is_group(key: str) -> bool:
    """Whether a key is a config group."""
    return key != CONF and key.replace("/", "").isidentifier() and any(path.is_dir() for path in _folders(key))


def groups(nested: bool = False) -> list[str]:
    """Returns the names of the groups; with those within them, too, such as `model/encoder`."""
    pattern = "**/*/" if nested else "*/"
    found = {path.relative_to(place).as_posix() for place in _folders(CONF) for path in place.glob(pattern)}
    return sorted(name for name in found if all(part.isidentifier() for part in name.split("/")))


def options(group: str) -> list[str]:
    """Returns the names of the files in a group."""
    return sorted({path.stem for place in _folders(group) for path in place.glob("*.yaml")})


def is_option(group: str, name: str) -> bool:
    """Whether a group has a file of that name."""
    return option_file(group, name) is not None


def is_bundled(group: str, name: str) -> bool:
    """Whether the file of an option is the package's: the current folder comes first."""
    return option_file(group, name) == Path(bundled(), folder(group), f"{name}.yaml")


def option_file(group: str, name: str) -> Path | None:
    """Returns the file of an option; None if there is none."""
    files = (place / f"{name}.yaml" for place in _folders(group))
    return next((file for file in files if file.is_file()), None)


def swept(typed: Mapping[str, Sequence[str]]) -> list[Path]:
    """Returns the user's files that are swept, as in `net=a,b`; `typed` has the values of each key, in quotes or not."""
    found = []
    for group, names in typed.items():
        if len(names) > 1 and (group == CONF or is_group(group)):
            plain = [name.strip('"') for name in names]
            found += [Path(name) if name.endswith(SUFFIXES) else option_file(group, name) or Path(name) for name in plain]
    return [path for path in found if not path.is_relative_to(bundled() / CONF)]


def _folders(group: str) -> Iterator[Path]:
    yield from (Path(root, folder(group)) for root in (Path.cwd(), bundled()))


def with_absolute_defaults(content: dict[str, Any], config_path: str, root: str) -> dict[str, Any]:
    """Returns the content of a conf file with a defaults list that means what it means in a primary config of Hydra's.

    Hydra would look for `optimizer: adamw` below the conf itself. In a file that is named by its path, a name without a
    folder is that of a file beside it, or of a conf.
    """
    defaults = content.get("defaults")
    if not isinstance(defaults, list):
        return content
    return {**content, "defaults": [_absolute(item, Path(file(config_path, root)), root) for item in defaults]}


def _absolute(item: Any, path: Path, root: str) -> Any:
    if isinstance(item, dict):
        return {_from_top(str(key)): value for key, value in item.items()}
    is_path = not str(path).startswith(f"{CONF}/")
    if isinstance(item, str) and is_path and item != "_self_" and not item.startswith("/"):
        beside = path.parent / (item if item.endswith(SUFFIXES) else f"{item}.yaml")
        return f"/{CONF}/{beside}" if Path(root, beside).is_file() else f"/{CONF}/{item}"
    return item


def _from_top(key: str) -> str:
    *words, group = key.split(" ")
    return " ".join([*words, group if group.startswith("/") else f"/{group}"])
