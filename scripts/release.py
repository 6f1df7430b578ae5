"""Builds a release, checks it, and tags it: `python scripts/release.py 0.2.0`, which changes nothing without `--tag`.

The tag is the version. Nothing is uploaded or pushed: the commands for this are printed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
BRANCH = "main"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="the new version, such as 0.2.0")
    parser.add_argument("--tag", action="store_true", help="make the tag, if all is well")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="where the files go (default: dist)")
    given = parser.parse_args()
    if faults := list(faults_of(given.version)):
        sys.exit("\n".join(f"release: {fault}" for fault in faults))
    files = built(given.version, given.to)
    check(files, given.version)
    for path in files:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    tag = ["git", "tag", "-a", f"v{given.version}", "-m", f"veles-run {given.version}"]
    if given.tag:
        run(*tag)
        print(f"tagged v{given.version}\n  git push origin v{given.version}\n  twine upload {' '.join(map(str, files))}")
    else:
        print(f"all is well, and nothing is tagged: --tag makes v{given.version}")


def faults_of(version: str) -> Iterator[str]:
    """Yields what speaks against a release of this version from this checkout."""
    try:
        if str(Version(version)) != version or Version(version).local:
            yield f"{version} is written {Version(version).public}"
    except InvalidVersion:
        yield f"{version!r} is not a version, such as 0.2.0"
        return
    tags = [Version(tag[1:]) for tag in run("git", "tag", "--list", "v[0-9]*").split() if re.fullmatch(r"v[\d.a-z]+", tag)]
    if tags and Version(version) <= max(tags):
        yield f"{version} does not come after {max(tags)}, which is tagged"
    if changed := run("git", "status", "--porcelain"):
        yield f"files differ from the last commit: {', '.join(line[3:] for line in changed.splitlines()[:5])}"
    if (branch := run("git", "rev-parse", "--abbrev-ref", "HEAD")) != BRANCH:
        yield f"releases are made from {BRANCH}, and this is {branch}"
    if not re.search(rf"(?m)^## {re.escape(version)}$", (ROOT / "CHANGELOG.md").read_text()):
        yield f"CHANGELOG.md has no heading '## {version}'"


def built(version: str, folder: Path) -> list[Path]:
    """Builds the sdist, and the wheel out of it, with the packages that are installed here; returns both."""
    environment = {"SETUPTOOLS_SCM_PRETEND_VERSION": version}
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), **environment)
    files = [folder / f"veles_runner-{version}{ending}" for ending in (".tar.gz", "-py3-none-any.whl")]
    if missing := [path.name for path in files if not path.is_file()]:
        sys.exit(f"release: {missing[0]} was not built")
    return files


def check(files: list[Path], version: str) -> None:
    """Has twine look at the files, and the command of the wheel say its version and copy its examples."""
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, files))
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "package")
        run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(package), str(files[1]))
        for words in (["--version"], ["examples"], ["mnist_small", "--cfg", "job"]):
            said = run(sys.executable, "-m", "runner", *words, cwd=folder, PYTHONPATH=str(package))
            if words == ["--version"] and said != f"veles-run {version}":
                sys.exit(f"release: the wheel says {said!r}")


def run(*command: str, cwd: str | Path = ROOT, **environment: str) -> str:
    """Returns what a command prints; ends the program if it fails."""
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"release: {' '.join(command)} has failed:\n{done.stdout}{done.stderr}")
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    main()
