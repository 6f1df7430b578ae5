"""The study of a search in a database, through SQLAlchemy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from runner import passwords
from runner.checks import first_line
from runner.errors import ConfigError, RunError

FIRST, LATER = 2.0, 60.0
"""Seconds in which it is tried again to reach a database, at first and when it has been reached before."""
_DRIVERS = "pip install pymysql for mysql+pymysql://..., or 'psycopg[binary]' for postgresql+psycopg://..."


def opened(url: str, *, patient: bool) -> RDBStorage:
    """Opens a database, with the tables that Optuna needs.

    Args:
        url: SQLAlchemy's, as `passwords.conceal_url` returned it.
        patient: whether to wait for it, since it has been reached before.

    Raises:
        ConfigError: the URL is wrong, the driver is missing, or the database cannot be reached.
    """
    whole = passwords.reveal_url(url)
    # Two sweeps that begin in a new database make the same tables, so one of them has to try again.
    again = _persistently(LATER if patient else FIRST, DBAPIError, StorageInternalError)
    try:
        if "@" in (make_url(whole).host or ""):
            raise ConfigError(f"hydra.sweeper.storage={url}: type an @ in a password as %40")
        return again(_storage, whole)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or error
        raise ConfigError(
            f"hydra.sweeper.storage={url} needs a driver that is not installed ({missing}): {_DRIVERS}"
        ) from error
    except ConfigError:
        raise
    except (SQLAlchemyError, StorageInternalError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"hydra.sweeper.storage={url} cannot be opened: {_said(error)}") from error


@contextmanager
def told(url: str) -> Iterator[None]:
    """Says in one line if the block cannot reach the study.

    Raises:
        RunError: it cannot.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise RunError(f"the study in {url} cannot be reached ({_said(error)}); what the jobs have come to is kept") from error


def _storage(url: str) -> RDBStorage:
    """Opens a database. Between two calls there is no connection: a hundred jobs that train keep none, and none gets old."""
    url = re.sub(r"\Amariadb\b", "mysql", url)  # for which Optuna has statements of its own
    options: dict[str, Any] = {"poolclass": NullPool}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": LATER}
    found = RDBStorage(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=options)

    @event.listens_for(found.engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: Any, keywords: Any) -> Any:
        return _persistently(LATER, dialect.loaded_dbapi.OperationalError)(dialect.connect, *arguments, **keywords)

    return found


def _persistently(seconds: float, *errors: type[Exception]) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_delay(seconds),
        wait=wait_random_exponential(0.2, max=2),
        reraise=True,
    )


def _said(error: BaseException) -> str:
    """Returns what the driver says, in one line without passwords."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    return passwords.redact(first_line(getattr(cause, "orig", None) or cause))
