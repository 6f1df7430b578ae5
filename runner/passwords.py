"""Passwords: kept out of everything that is written, shown or pickled.

A connection string that holds a password is replaced, at the edge where it comes in, by the same string with `PWD=***`; that is
what configurations, snapshots, folder names and messages see. The password itself stays in the memory of this process, and is
put back when a connection is opened. Processes that this one starts do not get it, but for those in which Hydra runs the jobs
of a sweep: see `hand_over`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from typing import Any

from runner.checks import first_line
from runner.errors import ConfigError
from runner.text import shown, shown_lines

MASK = "***"
ENVIRONMENT = "VELES_RUN_SECRETS"

# Any name that ends so, such as ProxyPassword or SSLKeyPwd. `Key` needs something before it, or to be a key of a connection
# string: `key=` stands in much of Python. Two keys hold the path of a file; snapshotter.key and restore.key do as well.
_NAME = r"(?:pwd|passw(?:or)?d|passphrase|secret|token|(?:(?<=[\w;{&?-])|(?<=[;{&?]\s)|\A)(?<!ssl)(?<!rsa)key)"
_KEY = rf"(?i)({_NAME}\s*+=\s*+)"
_END = r"(?:[;&\s'\")}]|$)"
# What is masked already, or is a reference without a default, is no secret.
_HARMLESS = r"(?!\*\*\*" + _END + r"|\$\{[^},]*\}" + _END + ")"
# A value in braces ends at its brace, where `}}` stands for one, and one in quotes at its quote, unless more follows; any other
# value ends at a semicolon, or with its line.
_BRACES, _QUOTES = r"\{(?:[^}\n]|\}\})*+\}", r"'(?:[^'\\\n]|\\.)*+'" + r'|"(?:[^"\n]|"")*+"'
_SECRET = re.compile(_KEY + _HARMLESS + rf"((?:{_BRACES}|{_QUOTES})(?=[;&\s}})'\",\]]|\Z)|\{{[^\n]*|[^;\n]+)")
_MASKED = re.compile(_KEY + r"\*\*\*(?=" + _END + ")")
_REFERENCE = re.compile(r"\$\{oc\.env:[^{}]*\}")
_CREDENTIALS = re.compile(r"(?<=://)([^/\s:@]*):(?!\*\*\*@)[^/\s]+@")
_RECOGNISABLE = 8
"""Characters from which a password is looked for by itself: a shorter one may be an ordinary word."""

_given: dict[str, list[str]] = json.loads(os.environ.pop(ENVIRONMENT, "{}"))
"""The passwords of each connection string, as it is when they are masked."""
_found: set[str] = set()
"""Passwords that came from references, to be known in an error of a driver."""


def conceal(text: str) -> str:
    """Returns the connection string with its passwords masked, and remembers them for `reveal`."""
    values: list[str] = []

    def mask(found: re.Match[str]) -> str:
        values.append(found[2])
        return found[1] + MASK

    masked = _SECRET.sub(mask, text)
    if values:
        _given[masked] = values
    return masked


def is_secret(text: str) -> bool:
    """Whether the text holds a password that `conceal` would mask."""
    return _SECRET.search(text) is not None


def reveal(text: str) -> str:
    """Returns the connection string with its references resolved and its passwords put back.

    Args:
        text: as `conceal` returned it; it may hold references such as `${oc.env:VELES_ODBC}`.

    Raises:
        ConfigError: a reference leads nowhere, or a masked password was not given to this process.
    """
    values = iter(_given.get(text, ()))
    try:
        whole = _MASKED.sub(lambda found: found[1] + _value(next(values)), _resolved(text))
    except (StopIteration, RuntimeError) as error:
        raise ConfigError(
            f"the password of {text!r} is not kept with a run: give the connection string again, with its password, as"
            " snapshotter.odbc='...' or snapshot='odbc://...'"
        ) from error
    _found.update(found[2] for found in _SECRET.finditer(whole))
    return whole


def _value(value: str) -> str:
    """Returns a remembered password, which may be a reference whose default was masked with it."""
    return _resolved(value) if _REFERENCE.fullmatch(value) else value


def _resolved(text: str) -> str:
    if "${" not in text:
        return text
    from omegaconf import OmegaConf  # not for scripts that only restore a snapshot
    from omegaconf.errors import OmegaConfBaseException

    try:
        return str(OmegaConf.create({"text": text}).text)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{text!r} cannot be resolved: {redact(first_line(error))}") from error


def redact(text: str) -> str:
    """Returns a text to be shown, with every password in it masked."""
    text = _CREDENTIALS.sub(rf"\1:{MASK}@", _SECRET.sub(rf"\1{MASK}", text))
    for value in {*_found, *(value for values in _given.values() for value in values)}:
        for spelling in {value, value[1:-1].replace("}}", "}")} if value.startswith("{") else {value}:
            if len(spelling) >= _RECOGNISABLE:
                text = text.replace(spelling, MASK)
    return text


def hand_over() -> None:
    """Lets the processes that are started from now on have the passwords, until `keep`.

    They stand in the environment meanwhile. A process that finds them there takes them out when it imports this module, so that
    what it starts in turn does not have them.
    """
    if _given:
        os.environ[ENVIRONMENT] = json.dumps(_given)


def keep() -> None:
    """Ends what `hand_over` has begun."""
    os.environ.pop(ENVIRONMENT, None)


def told(error: BaseException) -> str:
    """Returns a traceback to be shown: without passwords, and with nothing in it that a terminal would obey."""
    return redact(shown_lines("".join(traceback.format_exception(error))))


class RedactingFilter(logging.Filter):
    """Makes log records safe to show, tracebacks included; it belongs on a handler.

    Passwords are masked. Line breaks stay in the message itself and in errors; in all else that the message is about, they and
    other characters that cannot be printed are escaped.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.args = _safe(record.args)
        try:
            text = record.getMessage()
        except Exception:  # a log call with wrong arguments is no reason to end a run
            text = f"{record.msg} {record.args}"
        record.msg, record.args = redact(shown_lines(text)), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(shown_lines(record.exc_text))
        if record.stack_info:
            record.stack_info = redact(shown_lines(record.stack_info))
        return True


class _Shown:
    """An argument of a log record as it is shown, whether by `%s` or by `%r`."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return shown_lines(self._value) if isinstance(self._value, BaseException) else shown(self._value)

    def __repr__(self) -> str:
        return shown(repr(self._value))


def _safe(arguments: Any) -> Any:
    if isinstance(arguments, dict):
        return {key: _safe_value(value) for key, value in arguments.items()}
    return tuple(map(_safe_value, arguments or ()))


def _safe_value(value: object) -> object:
    return value if type(value) in (int, float, bool) else _Shown(value)
