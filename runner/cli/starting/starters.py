"""The words of `veles-run` that begin something, in the place of a conf: `veles-run new flowers --from iris.csv`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from runner.cli.first_words import COMMANDS
from runner.errors import ConfigError
from runner.text import shown

_NEW = """Writes a conf for your data, which runs as it is: conf/NAME.yaml.

It looks at the data, and chooses layers, normalization, minibatches and a validation set. Nothing is ever overwritten.

  veles-run new flowers --from iris.csv                   a table: .csv, .tsv, .parquet, .npy, .npz
  veles-run new houses --from houses.csv --label price    the column to be learned; default: found by its name, or the last one
  veles-run new pets --from pets                          a folder with a folder of images for each class
  veles-run new birds --from birds:Birds                  a Dataset of torch in birds.py, which is written if it is not there"""
_EXAMPLES = """Copies the examples into a folder, and lists them. Nothing is ever overwritten.

  veles-run examples            into ./examples
  veles-run examples FOLDER"""
_IMPORT = """Turns a configuration of VELES, root.NAME.update({...}), into a conf file: conf/NAME.yaml.

The file is read and never executed. What only Python could tell is named with its line, and has ??? in the conf, so that
nothing runs without it. Exit codes: 0 if all was turned, 1 if something is left to do.

  veles-run import mnist_config.py
  veles-run import mnist_config.py --datasets data        the folder that root.common.dirs.datasets is
  veles-run import mnist_config.py --to conf/digits.yaml"""


def main() -> None:
    """Obeys `veles-run` with the arguments of the process, and exits."""
    from runner.cli.run import main, reported

    if sys.argv[1:] and sys.argv[1] in COMMANDS:
        reported(lambda: sys.exit(_run(sys.argv[1:])))
    main()


def _run(words: Sequence[str]) -> int:
    try:
        return run(words)
    except OSError as error:  # of the user's files; what reads and writes them has named most
        raise ConfigError(f"{words[0]}: {shown(error.filename or 'system')}: {error.strerror or error}") from error


def run(words: Sequence[str]) -> int:
    """Obeys one of the commands; returns the exit code.

    Args:
        words: the command and its arguments.

    Raises:
        ConfigError: an argument is wrong, or what it names is.
    """
    command, *arguments = words
    parser = _Parser(
        prog=f"veles-run {command}",
        description={"new": _NEW, "examples": _EXAMPLES, "import": _IMPORT}[command],
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.is_alone = not arguments
    if "" in arguments:
        raise ConfigError(f"{command}: an argument is empty: leave it out (a variable of the shell may be unset)")
    if command == "new":
        from runner.cli.starting.new_conf import new

        parser.add_argument("name", metavar="NAME", help="what the conf will be called")
        parser.add_argument("--from", dest="source", metavar="DATA", required=True, help="a table, a folder, or MODULE:CLASS")
        parser.add_argument("--label", metavar="COLUMN", help="the column of a table that is to be learned")
        given = parser.parse_args(arguments)
        new(given.name, given.source, given.label)
        return 0
    if command == "examples":
        from runner.cli.starting.copied_examples import examples

        parser.add_argument("folder", metavar="FOLDER", nargs="?", default="examples", help="default: %(default)s")
        examples(parser.parse_args(arguments).folder)
        return 0
    from runner.cli.starting.importing import import_

    parser.add_argument("file", metavar="FILE", help="the configuration, such as mnist_config.py")
    parser.add_argument("--to", metavar="CONF", help="the conf file; default: conf/NAME.yaml, by the file's name")
    parser.add_argument("--datasets", metavar="FOLDER", help="what root.common.dirs.datasets is")
    parser.add_argument("--root", metavar="NAME", help="which root.NAME, where the file has several")
    given = parser.parse_args(arguments)
    return import_(given.file, to=given.to, datasets=given.datasets, root=given.root)


class _Parser(ArgumentParser):
    """Says in one line what is wrong.

    Attributes:
        is_alone: whether nothing follows the command, so that a conf of its name may be meant.
    """

    is_alone = False

    def error(self, message: str) -> NoReturn:
        command = self.prog.rpartition(" ")[2]
        hint = f"; the conf of this name is run by conf={command}" if self.is_alone else ""
        raise ConfigError(f"{command}: {message} ({self.prog} --help){hint}")
