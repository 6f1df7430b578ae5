"""The command `veles-snapshots`."""

from __future__ import annotations

import io
import logging
import os
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from runner import passwords
from runner.checks import current_folder
from runner.cli.shelf import changing, checking, coding, exporting, looking, reporting, resuming
from runner.cli.shelf.printing import finish
from runner.errors import RunnerError
from runner.text import shown

INTERRUPTED = 130
"""The exit code after Ctrl-C."""
UNREAD = 141
"""The exit code when the reader of the output is gone, as shells show it of programs that SIGPIPE ends."""


class _Commands(TyperGroup):
    """Says in one line what is wrong, and exits with the code of that kind of error."""

    def invoke(self, ctx: Any) -> Any:
        try:
            current_folder()
            result = super().invoke(ctx)
            finish()
            return result
        except RunnerError as error:
            print(f"veles-snapshots: {passwords.redact(str(error))}", file=sys.stderr)
            ctx.exit(error.exit_code)
        except OSError as error:  # what Python itself says of a name, such as that it is too long
            if isinstance(error, BrokenPipeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left to print has no reader
                ctx.exit(UNREAD)
            print(f"veles-snapshots: {shown(error.filename or 'system')}: {error.strerror or error}", file=sys.stderr)
            ctx.exit(2)
        except RecursionError:
            print("veles-snapshots: a header nests its values too deeply to be shown", file=sys.stderr)
            ctx.exit(2)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


app = typer.Typer(
    name="veles-snapshots",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Looks after the snapshots that runs have made, in folders, in databases and at URLs.

    Nothing of a snapshot is run by any of these commands. Exit codes: 0 if all is well, 1 if something is not, 2 for wrong
    usage, or if there is no such snapshot.""",
)
COMMANDS = (
    *(looking.ls, looking.show, looking.best, looking.tree, checking.verify, resuming.diff, resuming.why, coding.code),
    *(changing.tag, changing.note, changing.cp, changing.rm, changing.prune, reporting.report, checking.deliver, checking.ddl),
    exporting.export,
)
for command in COMMANDS:
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"veles-snapshots {metadata.version('veles-runner')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """The options of the command itself."""


def main() -> None:
    """Runs the command with the arguments of the process, and exits."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal has every character
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.addFilter(passwords.RedactingFilter())
    logging.getLogger("runner").addHandler(handler)
    app()


if __name__ == "__main__":
    main()
