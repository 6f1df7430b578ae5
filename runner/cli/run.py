"""The command `veles-run`."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from runner import passwords
from runner.checks import choices, known, meant
from runner.cli import hydra_app, output, overrides
from runner.cli.parallel import check_alone
from runner.config.schema_keys import all_keys
from runner.errors import ConfigError, RunnerError
from runner.text import shown_lines

log = logging.getLogger(__name__)

FULL_ERROR = "HYDRA_FULL_ERROR"
_HINT = (
    "a password on the command line is seen by whoever lists processes, and is not kept with the run;"
    " DSN=name or '${oc.env:VELES_ODBC}' in its place is not"
)
_NOT_FOR_PEOPLE = ("full_key", "object_type", "reference_type")


@hydra.main(config_path=None, config_name="config", version_base="1.3")
def app(config: DictConfig) -> float | None:
    """Runs one job; returns the best validation error, for Hydra's sweepers to minimize."""
    from runner.cli import job

    try:
        outcome = job.run(config)
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:
        told = job.failure(error)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise told from error
        raise SystemExit(_report(told)) from error
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)
    return outcome.error


def main() -> None:
    """Runs `veles-run` with the arguments of the process, and exits."""
    full_error = os.environ.setdefault(FULL_ERROR, "0") != "0"
    os.environ[FULL_ERROR] = "1"  # Hydra passes errors on instead of printing them
    os.environ["VELES_RUN_TRACEBACK"] = "1" if full_error else ""
    _show_unexpected_errors()
    if any(map(passwords.is_secret, sys.argv)):
        print(f"veles-run: {_HINT}", file=sys.stderr)
    try:
        check_alone(os.environ)
        _look_for_modules_here()
        sys.argv[1:] = overrides.normalize(sys.argv[1:])
        hydra_app.register()
        app()
    except (RunnerError, HydraException, OmegaConfBaseException, OSError) as error:
        sys.exit(_report(error))
    finally:
        for failure in output.untold():
            log.warning("%s", failure)


def _look_for_modules_here() -> None:
    """Lets conf files name modules of the current folder."""
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder has been deleted: go to another one") from error
    if here not in sys.path:
        sys.path.append(here)


def _show_unexpected_errors() -> None:
    """Has tracebacks that nobody catches shown without passwords, and with nothing in them that a terminal would obey."""
    sys.excepthook = lambda kind, error, trace: print(passwords.told(error), end="", file=sys.stderr)
    threading.excepthook = lambda given: print(passwords.told(given.exc_value or given.exc_type()), end="", file=sys.stderr)


def _report(error: Exception) -> int:
    """Prints an error as one message, or with its traceback where that is asked for; returns the exit code."""
    if os.environ["VELES_RUN_TRACEBACK"]:
        print(passwords.told(error), end="", file=sys.stderr)
    else:
        print(f"veles-run: {passwords.redact(shown_lines(_message(error)))}", file=sys.stderr)
    return error.exit_code if isinstance(error, RunnerError) else 2


def _message(error: Exception) -> str:
    cause = error.__cause__
    if cause is None and not isinstance(error, RunnerError):
        cause = error.__context__  # Hydra hides the cause of what is wrong with a conf file
    if isinstance(error, MissingConfigException) and (error.missing_cfg_file or "").startswith("conf/"):
        name = str(error.missing_cfg_file).removeprefix("conf/")
        confs = error.options or ()
        return f"conf={name} is not known; {choices(name, confs)} (conf/ of this folder, and of the package)"
    if isinstance(cause, ConfigKeyError | ConfigAttributeError) and is_dataclass(cause.object_type):
        file = re.match(r"In 'conf/[^']*': ", str(error))
        where = file[0] if file else ""
        return f"{where}{_unknown_key(str(cause.full_key), cause.object_type)}"
    if isinstance(error, RunnerError):
        return _with_choice_meant(str(error))
    if isinstance(error, OSError):  # of Hydra's own: it makes the folder of the run
        return f"{error.strerror or error}: {error.filename!r} (the run's folder is hydra.run.dir)"
    lines = [*str(error).splitlines(), *(str(cause).splitlines() if isinstance(cause, OmegaConfBaseException) else [])]
    told = [line.strip() for line in lines if line.strip() and not line.strip().startswith(_NOT_FOR_PEOPLE)]
    return _with_choice_meant("; ".join(told).removeprefix("Error merging override "))


def _unknown_key(key: str, section: Any) -> str:
    """Says that a key is unknown, and which is meant: one beside it, or one of the same name in another section."""
    *_, name = key.split(".")
    names = [item.name for item in fields(section)]
    by_name = {other.rpartition(".")[2]: other for other in reversed(all_keys())}
    elsewhere = by_name.get(name) or next((by_name[found] for found in get_close_matches(name, by_name, 1, 0.8)), "")
    close = (name not in by_name and meant(name, names)) or (elsewhere and f"did you mean {elsewhere!r}? ")
    return f"{key!r} is not a key; {close}known there: {known(names)}"


def _with_choice_meant(message: str) -> str:
    """Adds which value may be meant to a message of OmegaConf about a choice."""
    found = re.search(r"Invalid value '([^']*)', expected one of \[([^]]*)\]", message)
    close = meant(found[1], found[2].split(", ")) if found else ""
    return f"{message}; {close}".rstrip("; ")
