"""Keeps passwords out of everything that is written, shown or pickled.

As soon as a connection string with a password comes in, it is replaced by the same string with `PWD=***`. Configurations,
snapshots, folder names and messages see only that. The password itself stays in the memory of this process, and is put back
when a connection is opened. Child processes do not get it, except those that run the jobs of a sweep: see `hand_over`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from runner.checks import first_line
from runner.errors import ConfigError
from runner.text import shown, shown_lines

MASK = "***"
ENVIRONMENT = "VELES_RUN_SECRETS"

# Any name with such an end, like ProxyPassword or SSLKeyPwd. `Key` must follow other characters, or be a key of a connection
# string, since `key=` is common in Python. SSLKey and RSAKey hold the path of a file, as snapshotter.key and restore.key do.
_KEY_NAME = r"(?<=k)ey(?:(?<=[\w;{&?-]key)|(?<=[;{&?]\skey)|(?<=\Akey))(?<!sslkey)(?<!rsakey)"
# The first letters stand apart, with the two that Unicode folds to s and k, so that `re` passes quickly over all others: each
# line of a long list is searched.
_NAME = rf"[pPsStTkK\u017f\u212a](?i:(?<=p)(?:wd|assw(?:or)?d|assphrase)|(?<=s)ecret|(?<=t)oken|{_KEY_NAME})"
_KEY = rf"({_NAME}\s*+=\s*+)"
_END = r"(?:[;&\s'\")}]|$)"
# A value that is already masked, or a reference without a default, is not a secret.
_HARMLESS = r"(?!\*\*\*" + _END + r"|\$\{[^},]*\}" + _END + ")"
# A value in braces ends at the closing brace (`}}` is an escaped one) and a quoted one at its quote, unless more follows; any
# other value ends at a semicolon or at the end of the line.
_BRACES, _QUOTES = r"\{(?:[^}\n]|\}\})*+\}", r"'(?:[^'\\\n]|\\.)*+'" + r'|"(?:[^"\n]|"")*+"'
_SECRET = re.compile(_KEY + _HARMLESS + rf"((?:{_BRACES}|{_QUOTES})(?=[;&\s}})'\",\]]|\Z)|\{{[^\n]*|[^;\n]+)")
_MASKED = re.compile(_KEY + r"\*\*\*(?=" + _END + ")")
_REFERENCE = re.compile(r"\$\{oc\.env:[^{}]*\}")
_CONNECTION_URL = re.compile(r"(?s)([\w+]+://(?:\$\{[^{},]*\}|[^:/@])*:)(.+)(@[^@]*)")
"""That of a database, in SQLAlchemy's grammar. A password with an `@`, which is wrong there, is no less secret."""
_PLAIN_REFERENCE = re.compile(r"\$\{[^{},]*\}")
_CREDENTIALS = re.compile(r"(://[^/\s:@]*):(?!\*\*\*@)[^/\s]+@")
_RECOGNISABLE = 8
"""Minimum length of a password to be masked wherever it occurs: a shorter one may be an ordinary word."""

_given: dict[str, list[str]] = json.loads(os.environ.pop(ENVIRONMENT, "{}"))
"""The passwords of each connection string, by the masked string."""
_found: set[str] = set()
"""Passwords that came from references, so that they can be masked in a driver's errors."""


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
        text: the string that `conceal` returned. It may contain references such as `${oc.env:VELES_ODBC}`.

    Raises:
        ConfigError: a reference cannot be resolved, or this process was not given the masked password.
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
    """Returns a remembered password. It may be a reference that was masked because of its default."""
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


def conceal_url(url: str) -> str:
    """Returns the URL of a database with its password masked, and remembers it for `reveal_url`.

    So is the whole query, if it has a password.
    """
    masked, values = _masked_url(url)
    if values:
        _given[masked] = values
    return masked


def is_secret_url(url: str) -> bool:
    """Whether the URL of a database has a password that `conceal_url` would mask."""
    return bool(_masked_url(url)[1])


def reveal_url(url: str) -> str:
    """Returns the URL of a database with its references resolved and its passwords put back.

    Args:
        url: what `conceal_url` returned.

    Raises:
        ConfigError: a reference cannot be resolved, or this process was not given the masked password.
    """
    head, *parts = url.split(MASK)
    values = _given.get(url, [])
    if len(parts) != len(values):
        raise ConfigError(f"the password of {url} is not kept with a sweep: type hydra.sweeper.storage=URL again, with it")
    whole = _resolved(head + "".join(value + part for value, part in zip(values, parts, strict=True)))
    for value in _masked_url(whole)[1]:
        _found.update((value, unquote(value)))
    return whole


def _masked_url(url: str) -> tuple[str, list[str]]:
    """Returns the URL of a database without its passwords, and these; a reference without a default is none."""
    values = []
    plain = _CONNECTION_URL.fullmatch(_PLAIN_REFERENCE.sub("", url))
    if plain and plain[2] != MASK and (found := _CONNECTION_URL.fullmatch(url)):
        url = f"{found[1]}{MASK}{found[3]}"
        values.append(found[2])
    head, mark, query = url.partition("?")
    if _SECRET.search(query) or "odbc_connect=" in query:
        url = f"{head}{mark}{MASK}"
        values.append(query)
    return url, values


def without_credentials(url: str) -> str:
    """Returns a URL with the password before its host masked. It is not remembered: no URL may hold one."""
    return _CREDENTIALS.sub(rf"\1:{MASK}@", url)


def redact(text: str) -> str:
    """Returns a text with every password in it masked, so that it can be shown."""
    text = without_credentials(_SECRET.sub(rf"\1{MASK}", text))
    for value in {*_found, *(value for values in _given.values() for value in values)}:
        for spelling in {value, value[1:-1].replace("}}", "}")} if value.startswith("{") else {value}:
            if len(spelling) >= _RECOGNISABLE:
                text = text.replace(spelling, MASK)
    return text


def hand_over() -> None:
    """Passes the passwords on to the processes that are started from now on, until `keep`.

    Until then, they are in the environment. A process that finds them there removes them when it imports this module, so that
    its own child processes do not get them.
    """
    if _given:
        os.environ[ENVIRONMENT] = json.dumps(_given)


def keep() -> None:
    """Ends `hand_over`: removes the passwords from the environment."""
    os.environ.pop(ENVIRONMENT, None)


def remembered() -> dict[str, list[str]]:
    """Returns the passwords of connection strings, for a process that does not have the environment of this one."""
    return dict(_given)


def take_over(given: Mapping[str, list[str]]) -> None:
    """Remembers what `remembered` has returned in another process."""
    _given.update(given)


def told(error: BaseException) -> str:
    """Returns a traceback that is safe to show: without passwords, and without control characters for a terminal."""
    return redact(shown_lines("".join(traceback.format_exception(error))))


class RedactingFilter(logging.Filter):
    """Makes log records safe to show, including tracebacks. Add it to handlers.

    Passwords are masked. Line breaks are kept in the message itself and in errors. In all other arguments of the message, they
    are escaped like other unprintable characters.
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
    """An argument of a log record that is safe to show, with both `%s` and `%r`."""

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
