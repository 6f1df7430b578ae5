"""The words that `veles-run` takes in the place of a conf."""

COMMANDS = {"new": ("--from", "--label"), "examples": (), "import": ("--datasets", "--root", "--to")}
"""Those that begin something, each with its options. A conf of such a name is called by `conf=NAME`."""
