"""`veles-run new NAME --from DATA`: a conf for data that nobody has described yet."""

from __future__ import annotations

import re
from pathlib import Path

from runner import shell
from runner.cli import conf_files
from runner.cli.first_words import COMMANDS
from runner.cli.overrides import SECTIONS, as_override
from runner.cli.starting.look import Look
from runner.cli.starting.new_files import write_new
from runner.errors import ConfigError
from runner.text import shown

NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
FEWEST = 3
"""Samples of which a fifth is at least one."""
CLASS = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


def new(name: str, source: str, label: str | None) -> None:
    """Writes `conf/NAME.yaml`, and a module where it is needed, and says what to type next.

    Args:
        name: what the conf will be called.
        source: a table, a folder of images, or `module:Class` of a Dataset.
        label: the column of a table that is to be learned; None: it is guessed.

    Raises:
        ConfigError: the name or a file is taken, or nothing can be learned from the data.
    """
    from runner.cli.starting.first_conf import conf_text

    path = _path(name)
    look = _look(source, label)
    if look.samples < FEWEST:
        raise ConfigError(f"--from={source!r}: {look.samples} samples are too few to train and to validate on")
    write_new(path, conf_text(name, look))
    print(f"{path} is written, for {shown(look.what)}: a network that {shown(look.task)}")
    for note in look.notes:
        print(f"  {shown(note)}")
    print(f"\nTrain it (Ctrl-C takes a snapshot; snapshot=latest goes on), and then use it:\n  veles-run {name}")
    print(f"  {_use(name, look)}")


def _path(name: str) -> Path:
    """Returns the file of a new conf, of whose name there is none yet."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"new {name!r}: the name of a conf is a word of letters, digits and _, such as flowers")
    if name in COMMANDS:
        raise ConfigError(f"new {name}: {name!r} is a command of veles-run: choose another name")
    if name in SECTIONS or name == conf_files.CONF or conf_files.is_group(name):
        raise ConfigError(f"new {name}: {name!r} is a key that veles-run takes: choose another name")
    for folder in (Path(conf_files.CONF), conf_files.bundled() / conf_files.CONF):
        for suffix in conf_files.SUFFIXES:
            if (taken := folder / f"{name}{suffix}").exists():
                whose = "is there already" if folder == Path(conf_files.CONF) else "is one of veles-run's own"
                raise ConfigError(f"new {name}: {taken} {whose}: choose another name")
    return Path(conf_files.CONF, f"{name}.yaml")


def _look(source: str, label: str | None) -> Look:
    path = Path(source)
    if path.is_file():
        from runner.cli.starting.table_look import table_look

        return table_look(source, label)
    if label is not None:
        what = "is none" if path.exists() else "is not there"
        raise ConfigError(f"--label={label!r} is a column of a table, and --from={source!r} {what}")
    if path.is_dir():
        from runner.cli.starting.image_look import image_look

        return image_look(source)
    if found := CLASS.fullmatch(source):
        from runner.cli.starting.dataset_look import dataset_look

        return dataset_look(found[1], found[2])
    raise ConfigError(
        f"--from={source!r} is neither a file nor a folder (in {str(Path.cwd())!r}), nor MODULE:CLASS, such as birds:Birds"
    )


def _use(name: str, look: Look) -> str:
    if look.predict is None:
        return f"veles-run {name} snapshot=best mode=evaluate"
    words = ["veles-run", name, "snapshot=best", "mode=predict", as_override("data", look.predict), "output=predictions.csv"]
    return shell.join(words)
