"""`python -m runner.report FOLDER`: writes the report of a run's folder, or of a sweep's."""

from __future__ import annotations

import sys

from runner.errors import RunnerError
from runner.report.write import write_report
from runner.text import shown


def main(arguments: list[str]) -> int:
    """Writes the report of each folder; returns the exit code."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m runner.report FOLDER ...", file=sys.stderr)
        return 2
    try:
        for folder in arguments:
            print(shown(write_report(folder)))
    except RunnerError as error:
        print(f"runner.report: {shown(error)}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
