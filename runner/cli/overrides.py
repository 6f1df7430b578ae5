"""Brings what is typed into Hydra's grammar.

Four things differ from it: `snapshot` may be spelled in several ways, a value that Hydra cannot read (a connection string, a
path with `=`) is taken literally, a text is the text that was typed (`2024_01_02`), and keys of sections without a fixed schema
need no `+`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException

from runner import passwords
from runner.cli.typed_texts import as_typed
from runner.errors import ConfigError
from runner.snapshots.stores.location import SCHEME, concealed

SNAPSHOT_FLAGS = ("--snapshot", "-w")
FREE_SECTIONS = (
    "layers.",
    "workflow.",
    "loader.arguments.",
    "loader.train.",
    "loader.validation.",
    "optimizer.",
    "mcdnnic_parameters.",
    "snapshotter.on_signal.",
    "restore.renamed.",
)
"""Sections whose keys the schema does not list; they are checked when the configuration is read."""

_FLAGS_WITH_VALUE = ("-cp", "-cn", "-cd", "-c", "-p", "-i", "-er")
_LONG_FLAGS_WITH_VALUE = ("--config-path", "--config-name", "--config-dir", "--cfg", "--package", "--experimental-rerun")


def normalize(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments as Hydra takes them.

    Raises:
        ConfigError: `snapshot` is given more than once, or `--snapshot` without a value.
    """
    result = [_hydra_override(argument) for argument in map(_concealed, _without_flags(arguments))]
    sources = [argument for argument in result if argument.startswith("snapshot=")]
    if len(sources) > 1:
        raise ConfigError(f"snapshot is given {len(sources)} times ({', '.join(sources)}): give one")
    if sources and not sources[0].partition("=")[2].strip():
        raise ConfigError("snapshot= names no snapshot: snapshot=FILE, snapshot=latest or snapshot=auto")
    return result


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


def _without_flags(arguments: Sequence[str]) -> Iterator[str]:
    """Turns `--snapshot X` and `-w X` into `snapshot=X`; marks what is not an override by leaving it as it is."""
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag in SNAPSHOT_FLAGS:
            if not equals:
                value = next(rest, "")
            if not value:
                raise ConfigError(f"{flag} needs a value: {flag} FILE")
            yield f"snapshot={value}"
        else:
            yield argument
            if argument in _FLAGS_WITH_VALUE or argument in _LONG_FLAGS_WITH_VALUE:
                yield from [value for value in [next(rest, None)] if value is not None]


def _concealed(argument: str) -> str:
    """Masks the passwords in an argument, before Hydra or a message shows it."""
    key, _, value = argument.partition("=")
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
    if not equals or argument.startswith("-"):
        return argument
    readable = _readable(key, value)
    if readable and not key.startswith("~"):
        value = as_typed(key.lstrip("+"), value)
    if key.lstrip("+") == "snapshot":
        key = "snapshot"
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
