"""Brings what is typed into Hydra's grammar.

Five things differ from it: a name alone is that of a conf, `snapshot` may be spelled in several ways, a value that Hydra cannot
read (a connection string, a path with `=`) is taken literally, a text is the text that was typed (`2024_01_02`), and keys of
sections without a fixed schema need no `+`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from runner import passwords
from runner.checks import choices, known
from runner.cli import conf_files
from runner.cli.typed_texts import as_typed
from runner.config import Config
from runner.config.schema_keys import Kind, kind
from runner.errors import ConfigError
from runner.snapshots.stores.location import SCHEME, concealed

SECTIONS = frozenset(item.name for item in fields(Config))
"""The keys of the schema that have no others above them."""
SNAPSHOT_FLAGS = ("--snapshot", "-w")
FREE_SECTIONS = (
    "layers.",
    "workflow.",
    "loader.arguments.",
    "loader.train.",
    "loader.validation.",
    "optimizer.",
    "loss.",
    "scheduler.",
    "scores.",
    "model.",
    "mcdnnic_parameters.",
    "layer_defaults.",
    "snapshotter.on_signal.",
    "restore.renamed.",
)
"""Sections whose keys the schema does not list; they are checked when the configuration is read."""

SWEEP, FOLDER = "sweep=", "sweep.folder"
"""How the sweep that goes on is typed, and the key."""
_MAY_BE_EMPTY = ("conf", "snapshot", "snapshotter.compression", "snapshotter.spool")
"""Texts that may be empty, or are refused in words of their own."""
_HYDRAS_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
_URLS = ("snapshot=", "snapshotter.directory=", "hydra.sweeper=")
"""What may be a URL, or hold one, in which no password can be used."""
STORAGE = "hydra.sweeper.storage"
"""The key of the URL of a database, in which one can."""
_FLAGS_WITH_VALUE = (
    *("-cp", "-cn", "-cd", "-c", "-p", "-er"),
    *("--config-path", "--config-name", "--config-dir", "--cfg", "--package", "--experimental-rerun"),
)
_INFO = ("-i", "--info")
_INFORMATION = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What may follow `--info`."""


_FUNCTIONS = ("choice(", "glob(", "sort(")
"""How a value begins that Hydra makes options of."""
NOTHING = "null"
"""What is typed for a group of which no option is wanted."""
LOGGER = "logger"


def normalize(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments as Hydra takes them, flags behind the rest.

    Raises:
        ConfigError: `snapshot` or the conf is given more than once, `--snapshot` without a value, a path begins with `~`, or a
            text is empty.
    """
    typed, flags = split(arguments)
    for argument in typed:
        _check_home(argument)
        _check_empty(argument)
    typed = [f"{FOLDER}={text[len(SWEEP) :]}" if text.startswith(SWEEP) else text for text in typed]
    result = [_hydra_override(_concealed(argument if _is_override(argument) else _named(argument))) for argument in typed]
    confs = [argument for argument in result if argument.startswith("conf=")]
    if len(confs) > 1:
        raise ConfigError(f"conf is given {len(confs)} times ({', '.join(confs)}): give one")
    sources = [argument for argument in result if argument.startswith("snapshot=")]
    if len(sources) > 1:
        raise ConfigError(f"snapshot is given {len(sources)} times ({', '.join(sources)}): give one")
    if sources and not sources[0].partition("=")[2].strip():
        raise ConfigError("snapshot= names no snapshot: snapshot=FILE, snapshot=latest or snapshot=auto")
    return [*result, *flags]


def check_deletions(arguments: Sequence[str]) -> None:
    """Checks that nothing is set which another argument takes away again; of a group, in whatever order.

    Raises:
        ConfigError: something is.
    """
    for place, gone in ((place, text[1:].partition("=")[0]) for place, text in enumerate(arguments) if text.startswith("~")):
        for argument in arguments if conf_files.is_group(gone) else arguments[:place]:
            key = argument.lstrip("+").partition("=")[0]
            if f"{key}.".startswith(f"{gone}."):
                raise ConfigError(f"~{gone} takes away what {argument.lstrip('+')} sets: leave one of them out")


def _check_home(argument: str) -> None:
    """Raises a ConfigError for `~` where no shell puts a folder in its place: a folder of that name would be made."""
    value = argument.partition("=")[2] or argument
    if value.startswith("~/"):
        where = argument.removesuffix(value)
        raise ConfigError(f"{where}{value!r} begins with ~, for which only a shell puts a folder: type {where}$HOME/...")


def _check_empty(argument: str) -> None:
    """Raises a ConfigError for an empty text: `data=$FILE` without such a variable would score other data."""
    key, is_value, value = argument.partition("=")
    key = key.lstrip("+")
    if not is_value or value.strip() or key in _MAY_BE_EMPTY or key.startswith("~"):
        return
    if key in _HYDRAS_FOLDERS or key == LOGGER or kind(key) is Kind.text:
        raise ConfigError(f"{key}= is empty: type {key}=VALUE, or leave it out (a variable of the shell may be unset)")


def repeated(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Returns the keys that normalized arguments give several values, in their order: only the last counts.

    Mappings are not among them: all that is in them counts.
    """
    values: dict[str, list[str]] = {}
    for argument in arguments:
        key, equals, value = argument.lstrip("+").partition("=")
        if equals and not argument.startswith(("-", "~")) and not value.startswith("{"):
            values.setdefault(key, []).append(value)
    return {key: given for key, given in values.items() if len(set(given)) > 1}


def as_override(key: str, text: str) -> str:
    """Returns what has to be typed for a key to have this text, whatever is in it; the shell's quotes are not there yet."""
    if not text.startswith(SCHEME):  # where references stay what they are
        text = text.replace("${", "\\${")
    plain = f"{key}={text}"
    try:
        read = OverridesParser.create().parse_override(_hydra_override(plain)).value()
    except (HydraException, ConfigError):
        read = None
    return plain if read == text else f"{key}={_quoted(text)}"


def for_hydra(key: str, text: str) -> str:
    """Returns the override by which Hydra takes this text, whatever is in it."""
    return _hydra_override(as_override(key, text))


def text_of(argument: str) -> str:
    """Returns the text that a normalized argument gives its key, without the quotes that Hydra needs."""
    try:
        value = OverridesParser.create().parse_override(argument).value()
    except HydraException:
        value = None
    return value if isinstance(value, str) else argument.partition("=")[2].strip("'\"")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the overrides, with `--snapshot X` and `-w X` as `snapshot=X`, and the flags with their values.

    Argparse would take no override that stands behind a flag.

    Raises:
        ConfigError: `--snapshot` has no value.
    """
    rest, overrides, flags = list(arguments), list[str](), list[str]()
    while rest:
        argument = rest.pop(0)
        flag, equals, value = argument.partition("=")
        if flag in SNAPSHOT_FLAGS:
            value = value if equals or not rest else rest.pop(0)
            if not value:
                raise ConfigError(f"{flag} needs a value: {flag} FILE")
            overrides.append(f"snapshot={value}")
        elif not argument.startswith("-"):
            overrides.append(argument)
        else:
            flags.append(argument)
            if rest and (argument in _FLAGS_WITH_VALUE or (argument in _INFO and rest[0] in _INFORMATION)):
                flags.append(rest.pop(0))
    return overrides, flags


def _is_override(argument: str) -> bool:
    return "=" in argument and not _is_path(argument)


def _is_path(argument: str) -> bool:
    return argument.endswith(conf_files.SUFFIXES) and Path(argument).is_file()


def _named(argument: str) -> str:
    """Returns `conf=NAME` for a name, or a path, that stands alone; `~KEY` is as it is.

    Raises:
        ConfigError: it is a key, a snapshot, or a part of a command line with blanks in the wrong places.
    """
    if _is_path(argument):
        name = conf_files.choice(argument)
        is_plain = re.fullmatch(r"[\w./-]+", name) is not None  # Hydra would take `a,b.yaml` for two
        return f"conf={name if is_plain else _quoted(name)}"
    if argument.startswith("~"):
        return argument
    section = argument.partition(".")[0]
    if argument == "conf" or section in SECTIONS:
        key = argument.partition(":")[0]  # `max_epochs:3` is how YAML would have it
        raise ConfigError(f"{argument} needs a value: {key}=VALUE, without blanks")
    if not argument.strip("= ") or ".pickle" in argument:
        hint = f"snapshot={argument} continues a snapshot" if ".pickle" in argument else "a key is typed as KEY=VALUE"
        raise ConfigError(f"{argument!r} is not the name of a conf: {hint}, without blanks")
    return f"conf={argument}"


def is_choice(key: str, value: str) -> bool:
    """Whether an override chooses an option of a config group, or several for a sweep."""
    return conf_files.is_group(key.lstrip("+")) and re.fullmatch(r"[\w./, -]+", value) is not None


def is_own_choice(key: str, value: str) -> bool:
    """Whether an override chooses options that the package does not have: they may name classes."""
    return is_choice(key, value) and not all(conf_files.is_bundled(key.lstrip("+"), name.strip()) for name in value.split(","))


def _options(group: str, value: str) -> str:
    """Returns a choice of options, or several for a sweep, that was typed as `choice(a,b)` or `glob(*)`, as `a,b`."""
    if not value.startswith(_FUNCTIONS) or not conf_files.is_group(group) or not _readable(group, value):
        return value
    parsed = OverridesParser.create().parse_override(f"{group}={value}").value()
    items = parsed.list if isinstance(parsed, ChoiceSweep) and not parsed.shuffle else [parsed]
    names = [name for item in items for name in _named_options(group, item)]
    return ",".join(dict.fromkeys(names)) or value


def _named_options(group: str, item: Any) -> Sequence[str]:
    """Returns the options that an item of a choice names; none if it names nothing."""
    if isinstance(item, Glob):
        return item.filter(conf_files.options(group))
    text = item.text if isinstance(item, QuotedString) else item
    return [text] if isinstance(text, str) else []


def _check_options(group: str, value: str) -> None:
    if value == NOTHING:
        return
    options = conf_files.options(group)
    for name in value.split(","):
        if not conf_files.is_option(group, name.strip()):
            raise ConfigError(f"{group}={name} is not known; {choices(name, options)} (conf/{group}/ here, and in the package)")


def _concealed(argument: str) -> str:
    """Masks the passwords in an argument, before Hydra or a message shows it."""
    if argument.lstrip("+").startswith(_URLS):
        argument = passwords.without_credentials(argument)
    key, _, value = argument.partition("=")
    if key.lstrip("+") == STORAGE:
        url = value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[0] else value
        return f"{key}={_quoted(passwords.conceal_url(url))}" if url else argument
    if not passwords.is_secret(value):
        return argument  # `workflow.token=...` is not a connection string, and its value must arrive as it is
    parsed = OverridesParser.create().parse_override(f"{key}={value}").value() if _readable(key, value) else value
    items = parsed.list if isinstance(parsed, ChoiceSweep) else [parsed]
    texts = [item.text if isinstance(item, QuotedString) else str(item) for item in items]
    return f"{key}={','.join(_quoted(_without_password(text)) for text in texts)}"


def _without_password(text: str) -> str:
    return concealed(text) if text.startswith(SCHEME) else passwords.conceal(text)


def _hydra_override(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals:
        return argument
    if key == "conf" and value.endswith(conf_files.SUFFIXES):
        value = conf_files.choice(value)
    value = _options(key.lstrip("+"), value)
    if is_choice(key, value):
        _check_options(key.lstrip("+"), value)
        return f"{key}={value}"
    if conf_files.is_group(key.lstrip("+")) and not value.lstrip().startswith("{"):
        group = key.lstrip("+")
        raise ConfigError(f"{argument} chooses no option; known: {known(conf_files.options(group))}, or {group}={{KEY: VALUE}}")
    readable = _readable(key, value)
    if readable and not key.startswith("~"):
        value = as_typed(key.lstrip("+"), value)
    if key.lstrip("+") in ("snapshot", "conf"):
        key = key.lstrip("+")
    elif f"{key}.".startswith(FREE_SECTIONS):  # also the whole section: {name: value}
        key = f"++{key}"
    return f"{key}={value if readable else _quoted(value)}"


def _readable(key: str, value: str) -> bool:
    try:
        OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return False
    return True


def _quoted(value: str) -> str:
    # In Hydra's quoted strings a backslash only has to be doubled in front of a quote, the closing one included.
    text = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + (found[2] and "\\'"), value)
    return f"'{text}'"


def overrides_of(config: Any) -> list[str]:
    """Returns what was typed for a job, by Hydra's own configuration; unresolved, since a reference may lead to a password."""
    return OmegaConf.to_container(config.overrides.task)  # type: ignore[return-value]
