"""Each block of README and documentation runs as it stands: commands, confs, Python.

Confs have few samples and epochs here, those of the pages as those of the package; what else a page needs, it says itself
(`tests.pages`). Of runs that
differ in a key alone, of which the pages that explain and list have many, the configuration is composed, with all checks of
keys and values, and no more.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import forked
from tests.pages import DATA, PAGES, ROOT, RUNS, Block, blocks, commands

INSTALLS = ("apt-get ", "git clone ", "pip install ", "python3 -m venv ", "eval ")
"""What changes the machine, or needs a network."""

PLAIN = "plotters: false\nreport: false\n"
"""A conf that a command has written gets these lines: pictures take longer than the runs."""

WHOLE = re.compile(r"README.md|docs/(starting|tutorial|howto/(resume|manage|deploy)|coming-from/.*)\.md")
"""The pages all of whose commands run, since one needs what another has made."""

CONFS = {path.stem for path in (ROOT / "conf").glob("*.yaml")}
FORKED = {"veles-run": "veles-run", "veles-snapshots": "veles-snapshots", "python": "python"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a few images in MNIST's format, which is read at once."""
    subprocess.run([sys.executable, DATA / "idx.py", "digits"], cwd=tmp_path_factory.getbasetemp(), check=True)
    return tmp_path_factory.getbasetemp() / "digits"


@pytest.fixture
def folder(tmp_path: Path, digits: Path, odbc_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with all that a user has who has copied the examples: modules, and confs, which are small here."""
    for path in (ROOT / "examples").glob("*.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / "conf").mkdir()
    for path in (*(ROOT / "conf").glob("*.yaml"), *(ROOT / "examples" / "conf").glob("*.yaml")):
        (tmp_path / "conf" / path.name).write_text(small(path.read_text(), data_dir=str(digits)))
    (odbc_folder / "odbc.ini").write_text(f"[DSN]\nDriver=SQLite3\nDatabase={tmp_path}/runs.db\n")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, value in {"PAGES": str(DATA), "HOME": str(tmp_path), "PATH": path}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def small(text: str, **loader: str) -> str:
    """Returns a conf with few samples and epochs, and without pictures; one of MNIST has more settings of its loader."""
    conf = yaml.safe_load(text)
    if "decision" in conf:
        conf["decision"]["max_epochs"] = 2
    if conf.get("loader", {}).get("name") == "mnist":
        conf["loader"] |= {"train_size": 200, "validation_size": 100, **loader}
    if "rounds" in conf.get("workflow", {}):
        conf["workflow"]["rounds"] = 20
    return yaml.safe_dump(conf | {"plotters": False, "report": False}, sort_keys=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_runs_as_it_stands(page: Path, folder: Path) -> None:
    for number, block in enumerate(blocks(page)):
        if block.reason:
            continue
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True, parents=True)
            (folder / block.file).write_text(small(block.text) if block.file.startswith("conf/") else block.text)
        elif block.language in ("sh", "bash", "first"):
            for command in commands(block.text):
                run(command, block, folder)
        elif block.language == "python":
            (folder / f"block{number}.py").write_text(block.text)
            run(f"python block{number}.py", block, folder)
        elif block.language == "yaml":
            (folder / "conf" / "block.yaml").write_text(block.text)
            run("veles-run block --cfg job", block, folder)


def run(command: str, block: Block, folder: Path) -> None:
    """Runs a command; plain ones of ours in a process that is forked, since they begin at once there."""
    if command.startswith(INSTALLS):
        for extras in re.findall(r"\[([\w,]+)\]", command):
            assert set(extras.split(",")) <= EXTRAS.keys(), f"{block}: {command}"
        _, _, command = command.partition(" && veles-run ")
        if not command:
            return
        command = f"veles-run {command}"
    if within := re.fullmatch(r"cd (\w+) && (veles-run .*)", command):
        folder, command = folder / within[1], within[2]
    words = [os.path.expandvars(word) for word in shlex.split(command, comments=True)]
    if words[0] == "veles-run" and is_composed(words, block):
        words += ["--cfg", "job"]
    if words[0] in FORKED and not re.search(r"[|<>&;*]", re.sub(r"'[^']*'", "", command)):
        done = forked.run(words[1:], cwd=folder, environment=os.environ, timeout=60, command=FORKED[words[0]])
    else:
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{block}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    if words[:2] == ["veles-run", "new"]:
        with (folder / "conf" / f"{words[2]}.yaml").open("a") as conf:
            conf.write(PLAIN)


def is_composed(words: list[str], block: Block) -> bool:
    """Returns whether a run goes no further than to its configuration: it does in recipes that have written its conf."""
    if block.language == "first" or WHOLE.fullmatch(block.page) or any(word.startswith("-") for word in words):
        return False
    return not block.page.startswith("docs/howto/") or words[1] in CONFS


def test_what_does_not_run_has_a_reason_and_is_rare() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.language in RUNS]
    left_out = Counter(block.reason for block in found if block.reason)
    print(
        f"{len(found)} blocks, {left_out.total()} do not run:", *map("{0[1]} {0[0]}".format, left_out.most_common()), sep="\n"
    )
    assert left_out.total() < len(found) / 6
    assert [str(block) for page in PAGES for block in blocks(page) if not block.language] == []
