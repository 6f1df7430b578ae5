"""`veles-run examples`: copies what the package brings to try, and says how each is run."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from runner import shell
from runner.cli import conf_files
from runner.cli.starting.new_files import write_new
from runner.errors import ConfigError
from runner.text import shown


def bundled() -> Path:
    """Returns the folder of the examples, in the package or in the checkout that it is run from."""
    return conf_files.bundled() / "examples"


def examples(folder: str) -> None:
    """Copies the examples into a folder and lists them. Files that are there already, as they would be copied, may stay.

    Raises:
        ConfigError: a file is there already and differs, or cannot be written; then nothing has been copied.
    """
    place, source = Path(folder), bundled()
    texts = {path.relative_to(source): path.read_text(encoding="utf-8") for path in _files(source)}
    missing = {path: text for path, text in texts.items() if not _is_there(place / path, text)}
    for path, text in missing.items():
        write_new(place / path, text)
    what = f"{len(missing)} files are copied into" if missing else "all files are already in"
    print(f"{what} {shown(place)}. There:\n\n  {shell.join(['cd', folder])}")
    shown_first = sorted(texts.items(), key=lambda item: (item[0].suffix != ".yaml", item[0].stem))
    commands = {_command(path): _title(path, text) for path, text in shown_first if _is_run(path, text)}
    width = max(map(len, commands))
    for command, title in commands.items():
        print(f"  {command:{width}}  {title}")


def _files(source: Path) -> list[Path]:
    """Returns the files to copy: modules, notebooks, and the conf files that name them."""
    return sorted([*source.glob("*.py"), *source.glob("*.ipynb"), *source.glob("conf/*.yaml")])


def _is_there(path: Path, text: str) -> bool:
    try:
        if not path.exists():
            return False
        if path.read_bytes() == text.encode():
            return True
    except OSError as error:
        raise ConfigError(f"{shown(path)} cannot be read: {error.strerror}") from error
    raise ConfigError(f"{shown(path)} is there already, and differs: name another folder, veles-run examples FOLDER")


def _is_run(path: Path, text: str) -> bool:
    """Whether a file is run by itself; the others are modules that conf files name."""
    return path.suffix != ".py" or "__main__" in text


def _command(path: Path) -> str:
    if path.suffix == ".yaml":
        return f"veles-run {path.stem}"
    return f"python {path}" if path.suffix == ".py" else f"jupyter notebook {path}"


def _title(path: Path, text: str) -> str:
    """Returns what an example is about, in its own words: the first sentence of its first comment, docstring or cell."""
    if path.suffix == ".yaml":
        comments = re.match(r"(# .*\n)+", text)
        words = comments[0].replace("# ", "") if comments else ""
    elif path.suffix == ".py":
        words = ast.get_docstring(ast.parse(text)) or ""
    else:
        words = "".join(json.loads(text)["cells"][0]["source"]).lstrip("# ").partition("\n")[0]
    return re.split(r"(?<=[.])\s|\n\n", words, maxsplit=1)[0].replace("\n", " ").rstrip(".")
