"""What the package needs, and what it may be passed on under.

The table lists versions with known holes, or with malicious code, of what we use. No version that pyproject.toml allows, and
none of constraints.txt, is among them.
"""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Versions, what is wrong with them, and the newest of them.
HOLES = {
    "torch": [
        ("<2.6", "CVE-2025-32434: torch.load(weights_only=True) runs code", "2.5.1"),
        ("<2.10", "CVE-2026-24747: torch.load(weights_only=True) corrupts memory", "2.9.1"),
    ],
    "hydra-core": [("<1.3.4", "CVE-2026-68508: instantiate() of dangerous targets", "1.3.3")],
    "lightning": [
        ("==2.6.2", "malicious release", "2.6.2"),
        ("==2.6.3", "malicious release", "2.6.3"),
        ("<2.6.6", "GHSA-qqmf-gpg7-g8gw: checkpoints run code", "2.6.5"),
    ],
    "pytorch-lightning": [("<2.6.6", "GHSA-qqmf-gpg7-g8gw: checkpoints run code", "2.6.5")],
    "pillow": [
        ("<10.2", "CVE-2023-50447: ImageMath.eval runs code", "10.1.0"),
        ("<10.3", "CVE-2024-28219: buffer overflow in _imagingcms", "10.2.0"),
        (">=10.3,<12.1.1", "CVE-2026-25990: PSD images write out of bounds", "12.1.0"),
        ("<12.2", "CVE-2026-40192: FITS images decompress without bound", "12.1.1"),
        ("<12.3", "CVE-2026-59200: PDF streams exhaust the machine", "12.2.0"),
    ],
    "pyarrow": [
        (">=0.14,<14.0.1", "CVE-2023-47248: IPC and Parquet files run code", "14.0.0"),
        (">=15,<23.0.1", "CVE-2026-25087: use after free in the IPC reader", "23.0.0"),
    ],
    "scikit-learn": [("<1.5", "CVE-2024-5206: stop words leak data", "1.4.2")],
    "cryptography": [
        ("<46.0.5", "CVE-2026-26007: points of small subgroups are accepted", "46.0.4"),
        ("<46.0.7", "CVE-2026-39892: buffer overflow", "46.0.6"),
        (">=44,<50", "CVE-2026-69247: padding oracle in PKCS#7", "49.0.0"),
    ],
    "numpy": [("<1.22", "CVE-2021-34141: comparison of incomplete strings", "1.21.6")],
    "pyyaml": [("<5.4", "CVE-2020-14343: full_load runs code", "5.3.1")],
    "joblib": [("<1.2", "CVE-2022-21797: pre_dispatch is evaluated", "1.1.1")],
    "ray": [("<2.52", "CVE-2025-62593: web pages reach the dashboard, and run code", "2.51.2")],
    "jinja2": [("<3.1.6", "CVE-2025-27516: sandbox escape", "3.1.5")],
}
ROWS = [(name, versions, Version(newest)) for name, rows in HOLES.items() for versions, _, newest in rows]


def requirements() -> Iterator[Requirement]:
    """Returns what pyproject.toml asks for, its extras included."""
    extras = PROJECT["optional-dependencies"]
    return (Requirement(text) for text in chain(PROJECT["dependencies"], *extras.values()))


def allowed() -> list[tuple[str, SpecifierSet]]:
    return [(canonicalize_name(need.name), need.specifier) for need in requirements()]


def pinned() -> dict[str, Version]:
    lines = re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text())
    return {canonicalize_name(name): Version(version) for name, version in lines}


@pytest.mark.parametrize(("name", "versions", "newest"), ROWS, ids=[f"{row[0]}{row[1]}" for row in ROWS])
def test_no_version_with_a_known_hole_is_allowed(name: str, versions: str, newest: Version) -> None:
    assert newest in SpecifierSet(versions), "the table is wrong"
    for need, specifier in allowed():
        assert need != name or newest not in specifier
    assert name not in pinned() or pinned()[name] not in SpecifierSet(versions)


def test_every_direct_dependency_has_a_floor_and_a_pinned_version_above_it() -> None:
    for name, specifier in allowed():
        if name == "veles-runner":
            continue
        assert [one.operator for one in specifier] == [">="], name
        assert pinned()[name] in specifier, name


def test_the_table_knows_what_is_used() -> None:
    assert set(HOLES) <= {*pinned(), *(name for name, _ in allowed())}


def test_the_licence_names_that_of_every_file() -> None:
    expression = PROJECT["license"]
    assert canonicalize_license_expression(expression) == expression == "Apache-2.0 AND CC-BY-SA-3.0 AND MIT"
    texts = [(ROOT / name).read_text() for name in PROJECT["license-files"]]
    for part in ("Apache License", "CC BY-SA 3.0", "The MIT License"):
        assert any(part in text for text in texts)
