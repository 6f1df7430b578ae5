"""The command `veles-run`."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from importlib.metadata import version

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from runner import cores, passwords, places
from runner.checks import current_folder, first_line, known
from runner.cli import (
    completion,
    conf_files,
    general_help,
    groups,
    hydra_app,
    hydra_mode,
    keys_help,
    leaving,
    misconfigured,
    notices,
    output,
    overrides,
    parallel,
    run_folder,
    torch_ahead,
    without_effect,
)
from runner.config import Mode
from runner.errors import ConfigError, RunError, RunnerError, with_notes
from runner.misfits import MISFITS
from runner.plots.canvas import can_draw, painter_ahead
from runner.targets import TARGET
from runner.text import shown_lines

log = logging.getLogger(__name__)

FULL_ERROR = "HYDRA_FULL_ERROR"
_HINT = (
    "a password on the command line is seen by whoever lists processes, and is not kept with the run: name a variable of the"
    " environment instead, such as '${oc.env:VELES_ODBC}', or a data source, DSN=name"
)
_SAYS_WHAT = ("conf=", "snapshot=", "workflow.", "sweep=", "hydra")
"""How an argument begins that says, or may have Hydra say, what the jobs of a sweep are."""
_NOT_HERE = {
    **dict.fromkeys(
        ("-cp", "-cn", "-cd", "--config-path", "--config-name", "--config-dir"),
        "conf files are in conf/ of this folder, or are named by their path",
    ),
    "--experimental-rerun": "snapshot=FILE continues a run, with what was typed for it",
}
"""Flags of Hydra that name a primary configuration, which is the program's own, a folder, which printed commands lack, or an
earlier run without its snapshots; and what does that here."""


@hydra.main(config_path=None, config_name=conf_files.PRIMARY, version_base="1.3")
def app(config: DictConfig) -> float | None:
    """Runs one job; returns the best validation error, for Hydra's sweepers to minimize."""
    with painter_ahead() if _will_draw(config) else nullcontext():
        return _job(config)


def _will_draw(config: DictConfig) -> bool:
    """Whether the run is likely to draw, and there is a core on which its painter can start while torch is imported."""
    with suppress(Exception):  # the job says what is wrong with the configuration
        trains = config.mode is Mode.train and not config.graph and config.workflow[TARGET] is None
        one = HydraConfig.get().mode is not RunMode.MULTIRUN and parallel.here().leads
        return trains and one and config.plotters is not False and can_draw() and cores.usable() > 1
    return False


def _job(config: DictConfig) -> float | None:
    with leaving.of_every_run():
        from runner.cli import job, sweeps
        from runner.cli.outcome import failure

    gc.freeze()
    gc.enable()  # which `runner.__main__` has turned off
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return sweeps.job_of_a_sweep(lambda: job.run(config))
    try:
        outcome = job.run(config)
        parallel.here().part()
    except (HydraException, OmegaConfBaseException) as error:
        raise SystemExit(_report(error)) from error  # of any other exception, Hydra says more than the one line
    except BaseException as error:
        if not isinstance(error, Exception) and not places.is_users(error):  # a signal has ended the start
            raise
        raise SystemExit(_report(failure(error))) from error
    finally:
        run_folder.discard(HydraConfig.get().runtime.output_dir)
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)
    return outcome.error


def main() -> None:
    """Runs `veles-run` with the arguments of the process, and exits."""
    reported(_run)


def reported(command: Callable[[], None]) -> None:
    """Obeys a command in the current folder, whose modules it may name; exits with the one line that says what is wrong."""
    full_error = os.environ.setdefault(FULL_ERROR, "0") != "0"
    os.environ[FULL_ERROR] = "1"  # Hydra passes errors on instead of printing them
    os.environ["VELES_RUN_TRACEBACK"] = "1" if full_error else ""
    _show_unexpected_errors()
    if any(map(_has_password, sys.argv)):
        print(f"veles-run: {_HINT}", file=sys.stderr)
    try:
        parallel.join(os.environ)
        _look_for_modules_here()
        command()
        notices.tell()
    except (RunnerError, HydraException, *MISFITS, OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(_report(error))
    finally:
        for failure in output.untold():
            log.warning("%s", failure)


def _has_password(argument: str) -> bool:
    key, _, value = argument.partition("=")
    return passwords.is_secret(argument) or (key.lstrip("+") == overrides.STORAGE and passwords.is_secret_url(value))


def _run() -> None:
    sys.argv[1:] = _without_flags_of_output(sys.argv[1:])
    try:
        with leaving.of_every_run():
            hydra_app.register()
        sys.argv[1:] = _arguments(sys.argv[1:])
        run_folder.name_runs(sys.argv[1:])
        with leaving.of_every_run():
            from runner.cli import console  # noqa: F401  # as Hydra does when a run begins to log
        try:
            hydra_mode.run(app)
        except (RunnerError, HydraException, *MISFITS, OSError, ValueError):
            raise
        except Exception as error:
            if (launchers := _of_launcher(error)) is None:
                raise
            raise launchers from error
        finally:
            _tell_sweep()
    except RecursionError as error:  # Hydra follows defaults until it can no more; what a job raises does not come here
        conf = next((argument for argument in sys.argv if argument.startswith("conf=")), "the conf file")
        or_alias = "; *NAME of YAML, too, may be within what it names"
        told = ConfigError(f"{conf} has a defaults list that leads back to it, or is nested too deeply{or_alias}")
        raise told.with_traceback(error.__traceback__) from None


def _without_flags_of_output(typed: Sequence[str]) -> list[str]:
    """Obeys the flags that say what is shown, and returns the other arguments.

    The environment is told, so that the processes of a sweep know it, too.
    """
    for argument in typed:
        if argument in ("-q", "--quiet"):
            os.environ[output.QUIET] = "1"
        elif argument == "--no-color":
            os.environ["NO_COLOR"] = "1"
    return [argument for argument in typed if argument not in ("-q", "--quiet", "--no-color")]


def _arguments(typed: Sequence[str]) -> list[str]:
    """Returns the arguments as Hydra takes them; answers those that ask for help."""
    if any("--version".startswith(flag) for flag in typed if flag.startswith("--v")):
        print(f"veles-run {version('veles-runner')}")
        raise SystemExit(0)
    if wrong := next((flag for flag in typed if flag.partition("=")[0] in _NOT_HERE), None):
        raise ConfigError(f"{wrong} is not for veles-run: {_NOT_HERE[wrong.partition('=')[0]]}")
    flags = _flags([part for parts in overrides.split(typed) for part in parts])
    if flags.package and not flags.cfg:
        raise ConfigError(f"--package={flags.package} is for --cfg job, which shows a part of the configuration")
    if flags.multirun and (processes := parallel.here()).size > 1:
        raise ConfigError(f"-m: {processes.size} processes share one run, and a sweep is many: start each of them by itself")
    arguments = overrides.normalize(typed)
    overrides.check_deletions(arguments)
    for key, given in overrides.repeated(arguments).items():
        text = passwords.redact(shown_lines(f"{key} is given {len(given)} times: {key}={given[-1]} counts"))
        notices.note(text)
    if flags.shell_completion and any(argument.startswith("query=") for argument in arguments):
        print(" ".join(completion.choices(os.environ.get("COMP_LINE", ""))))
        raise SystemExit(0)
    runs = not (flags.cfg or flags.info or flags.hydra_help)  # else Hydra only shows something
    if runs and not any(argument.startswith("hydra.mode=") for argument in arguments):
        without_effect.check_hydra(arguments, bool(flags.multirun))
    arguments = groups.settled(arguments)
    if flags.multirun and not any(argument.lstrip("+").startswith(_SAYS_WHAT) for argument in arguments):
        raise ConfigError(f"conf=NAME says what to run; known: {known(conf_files.options(conf_files.CONF))}")
    if any(argument.startswith(f"{overrides.FOLDER}=") for argument in arguments):
        from runner.cli import sweep_finding

        arguments = sweep_finding.settled(arguments)
    if flags.help:
        named = any(argument.startswith("conf=") for argument in arguments)
        print(keys_help.text([text for text in arguments if not text.startswith("-")]) if named else general_help.text())
        raise SystemExit(0)
    if runs and not flags.multirun:
        torch_ahead.load_libraries()
    # The folder of the run is that of process 0, which writes it.
    return arguments if parallel.here().leads else [*arguments, "hydra.output_subdir=null"]


def _flags(arguments: Sequence[str]) -> Namespace:
    """Reads the flags as Hydra will, which would print its whole usage if one is wrong."""
    parser = get_args_parser()
    parser.error = _refuse_flags  # type: ignore[method-assign,assignment]
    return parser.parse_args(arguments)


_ELSEWHERE = {
    "resume": "snapshot=latest",
    "continue": "snapshot=latest",
    "checkpoint": "snapshot=FILE",
    "epochs": "decision.max_epochs=N",
    "batch": "loader.minibatch_size=N",
    "lr": "layers.NAME.learning_rate=X or optimizer.lr=X",
    "gpu": "device=cuda",
    "seed": "seed=N",
}
"""Keys, by the beginnings of what other programs have as flags."""


def _refuse_flags(message: str) -> None:
    hint = next((f", such as {key}" for flag, key in _ELSEWHERE.items() if f"--{flag}" in message), "")
    raise ConfigError(f"{message}: a key is typed as KEY=VALUE, without dashes{hint}; veles-run --help has the flags")


def _look_for_modules_here() -> None:
    """Lets conf files name modules of the current folder."""
    here = current_folder()
    if here not in sys.path:
        sys.path.append(here)


def _show_unexpected_errors() -> None:
    """Has tracebacks that nobody catches shown without passwords, and with nothing in them that a terminal would obey."""
    sys.excepthook = lambda kind, error, trace: print(passwords.told(error), end="", file=sys.stderr)
    threading.excepthook = lambda given: print(passwords.told(given.exc_value or given.exc_type()), end="", file=sys.stderr)


def _report(error: Exception) -> int:
    """Prints an error as one message, or with its traceback where that is asked for; returns the exit code."""
    exit_code = error.exit_code if isinstance(error, RunnerError) else 2
    if os.environ["VELES_RUN_TRACEBACK"]:
        print(passwords.told(error), end="", file=sys.stderr)
    else:
        for text in _failed_jobs() or [with_notes(error, misconfigured.message(error))]:
            _say(passwords.redact(shown_lines(text)), exit_code)
    return exit_code


def _say(text: str, exit_code: int) -> None:
    """Prints what is wrong; one of several processes only what process 0 does not say."""
    processes = parallel.here()
    if processes.fail(text, exit_code):
        which = "" if processes.leads else f" (process {processes.rank})"
        print(f"veles-run{which}: {text}", file=sys.stderr)


def _of_launcher(error: Exception) -> RunError | None:
    """Returns an error as one of the launcher that runs jobs in other processes, of which one may have been killed."""
    sweep_end = sys.modules.get("runner.cli.sweep_end")
    if sweep_end is None or not sweep_end.is_elsewhere():
        return None
    return RunError(f"hydra/launcher has failed ({type(error).__name__}): {first_line(error)}")


def _tell_sweep() -> None:
    """Tells what a sweep has come to; there was none if the module was never needed."""
    if (sweep_end := sys.modules.get("runner.cli.sweep_end")) is not None:
        sweep_end.tell()


def _failed_jobs() -> list[str]:
    """Returns what jobs of a sweep have failed with; nothing has if the module was never needed."""
    sweeps = sys.modules.get("runner.cli.sweeps")
    return [] if sweeps is None else list(sweeps.failures)
