"""What is released: built, checked, and looked into as somebody does who has nothing but the wheel."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from runner import extras, targets
from runner.errors import ConfigError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path, code: int = 0, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with what is in the working tree, and nothing that git ignores, as one commit."""
    folder = tmp_path_factory.mktemp("checkout")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(ROOT / name, folder / name)
    who = {f"GIT_{whose}_{what}": "tester@localhost" for whose in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    run("git", "init", "-q", "-b", "main", cwd=folder)
    run("git", "add", "-A", cwd=folder)
    (folder / "examples" / "outputs").mkdir()
    (folder / "examples" / "outputs" / "run.yaml").write_text("of somebody who tried the examples here")
    run("git", "commit", "-q", "-m", "all of it", cwd=folder, **who)
    return folder


@pytest.fixture(scope="module")
def installed(checkout: Path) -> Iterator[Path]:
    """The folder in which the release script has left a wheel and an sdist; the wheel is installed in `package` below it."""
    dist = checkout.parent / "dist"
    told = run(sys.executable, checkout / "scripts" / "release.py", "0.1.0", "--to", dist, cwd=checkout)
    assert "nothing is tagged" in told
    assert run("git", "tag", cwd=checkout) == ""
    wheel = dist / "veles_runner-0.1.0-py3-none-any.whl"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", dist / "package", wheel, cwd=dist)
    return dist


def test_the_wheel_has_what_a_newcomer_types(installed: Path, tmp_path: Path) -> None:
    """The release script has had twine check both files, and the wheel say its version."""
    environment = {"PYTHONPATH": str(installed / "package")}
    command = (sys.executable, "-m", "runner")
    run(*command, "examples", cwd=tmp_path, **environment)
    assert not list((installed / "package" / "runner" / "examples").glob("outputs"))
    small = ("decision.max_epochs=1", "plotters=false", "report=false")
    assert "Epoch 1" in run(*command, "spirals", *small, cwd=tmp_path / "examples", **environment)


def test_what_is_said_of_the_package_is_what_the_project_says(installed: Path) -> None:
    metadata = message_from_string(next((installed / "package").glob("*.dist-info/METADATA")).read_text())
    assert metadata["Keywords"].split(",") == PROJECT["keywords"] == sorted(PROJECT["keywords"])
    classifiers = metadata.get_all("Classifier")
    assert classifiers == PROJECT["classifiers"] == sorted(PROJECT["classifiers"])
    oldest = PROJECT["requires-python"].removeprefix(">=")
    versions = [name.rpartition(" ")[2] for name in classifiers if re.search(r":: 3\.\d+$", name)]
    assert min(versions, key=Version) == oldest


def test_a_release_that_would_be_wrong_is_refused(checkout: Path) -> None:
    script = (sys.executable, checkout / "scripts" / "release.py")
    for version, part in (("v1", "v1"), ("0.1", "CHANGELOG.md"), ("9.9.9", "CHANGELOG.md"), ("nine", "nine")):
        assert part in run(*script, version, cwd=checkout, code=1)
    (checkout / "stray.txt").write_text("")
    assert "stray.txt" in run(*script, "0.1.0", cwd=checkout, code=1)
    (checkout / "stray.txt").unlink()
    run("git", "tag", "v0.2.0", cwd=checkout)
    assert "0.2.0" in run(*script, "0.1.0", cwd=checkout, code=1)
    run("git", "tag", "-d", "v0.2.0", cwd=checkout)
    run("git", "checkout", "-q", "-b", "side", cwd=checkout)
    assert "side" in run(*script, "0.1.0", cwd=checkout, code=1)
    run("git", "checkout", "-q", "main", cwd=checkout)


def test_the_citation_has_what_its_format_demands() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["abstract"].rstrip(".") == PROJECT["description"]


def test_every_extra_that_an_error_names_brings_the_package() -> None:
    brought = {
        name: {Requirement(text).name for text in requirements}
        for name, requirements in PROJECT["optional-dependencies"].items()
    }
    for package, extra in extras.EXTRAS.values():
        assert package in brought[extra]


def test_an_example_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "resnet", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as Python has it for a module that is not there
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError) as raised:
        targets.find("model._target_", "resnet.ResNet")
    assert "pip install 'veles-runner[data]'" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
