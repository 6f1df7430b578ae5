"""Passwords: kept out of everything that is written, shown or pickled.

A connection string that holds a password is replaced, at the edge where it comes in, by the same string with `PWD=***`; that is
what configurations, snapshots, folder names and messages see. The password itself stays in the environment of this process,
where the processes that it starts find it too, and is put back when a connection is opened.
"""

from __future__ import annotations

import json
import logging
import os
import re

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.checks import first_line
from runner.errors import ConfigError

MASK = "***"
ENVIRONMENT = "VELES_RUN_SECRETS"

_KEY = r"(?i)((?<!\w)(?:PWD|PASSWORD|PASSWD|PASSPHRASE|ACCESSTOKEN)\s*=\s*)"
_END = r"(?:[;&\s'\")}]|$)"
# What is masked already, or is a reference, is no secret.
_HARMLESS = r"(?!\*\*\*" + _END + r"|\$\{[^}]*\}" + _END + ")"
# A value in braces ends at its brace, another one at a semicolon.
_SECRET = re.compile(_KEY + _HARMLESS + r"(\{(?:[^}]|\}\})*\}|[^;\n]+)")
_MASKED = re.compile(_KEY + r"\*\*\*(?=[;\s]|$)")
_CREDENTIALS = re.compile(r"(?<=://)([^/\s:@]+):(?!\*\*\*@)[^/\s@]+@")
_RECOGNISABLE = 8
"""Characters from which a password is looked for by itself: a shorter one may be an ordinary word."""


def conceal(text: str) -> str:
    """Returns the connection string with its passwords masked, and remembers them for `reveal`."""
    values: list[str] = []

    def mask(found: re.Match[str]) -> str:
        values.append(found[2])
        return found[1] + MASK

    masked = _SECRET.sub(mask, text)
    if values:
        os.environ[ENVIRONMENT] = json.dumps(_remembered() | {masked: values})
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
    values = iter(_remembered().get(text, ()))
    try:
        resolved = str(OmegaConf.create({"text": text}).text) if "${" in text else text
        return _MASKED.sub(lambda found: found[1] + next(values), resolved)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{text!r} cannot be resolved: {first_line(error)}") from error
    except (StopIteration, RuntimeError) as error:
        raise ConfigError(
            f"the password of {text!r} is not kept with a run: give the connection string again, with its password, as"
            " snapshotter.odbc='...' or snapshot='odbc://...'"
        ) from error


def redact(text: str) -> str:
    """Returns a text to be shown, with every password in it masked."""
    text = _CREDENTIALS.sub(rf"\1:{MASK}@", _SECRET.sub(rf"\1{MASK}", text))
    for values in _remembered().values():
        for value in values:
            if len(value) >= _RECOGNISABLE:
                text = text.replace(value, MASK)
    return text


class RedactingFilter(logging.Filter):
    """Masks passwords in log records, tracebacks included; it belongs on a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # a log call with wrong arguments is no reason to end a run
            text = f"{record.msg} {record.args}"
        record.msg, record.args = redact(text), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


def _remembered() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(os.environ.get(ENVIRONMENT, "{}"))
    return found
