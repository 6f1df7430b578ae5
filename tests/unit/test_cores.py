"""How many cores a process may use: by its affinity, and by cgroups of both versions as they look on real machines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner import cores

CGROUPS = {
    "version 2": ("0::/user.slice/job", {"user.slice/job/cpu.max": "max 100000", "user.slice/cpu.max": "150000 100000"}, [1.5]),
    "version 2 in a container": ("0::/", {"cpu.max": "200000 100000"}, [2.0]),
    "version 2, the host's path in a container": ("0::/docker/abc", {"cpu.max": "50000 100000"}, [0.5]),
    "version 2, no limit": ("0::/", {"cpu.max": "max 100000"}, []),
    "version 1": (
        "4:memory:/x\n3:cpu,cpuacct:/job",
        {"cpu,cpuacct/job/cpu.cfs_quota_us": "300000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
        [3.0],
    ),
    "version 1, mounted as cpu": ("3:cpuacct,cpu:/", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"}, [1.0]),
    "version 1, no limit": ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
    "another controller": ("3:cpuset:/", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"}, []),
    "nothing is mounted": ("0::/", {}, []),
}


@pytest.mark.parametrize("case", CGROUPS)
def test_quotas_of_cgroups(case: str, tmp_path: Path) -> None:
    lines, files, expected = CGROUPS[case]
    proc = tmp_path / "cgroup"
    proc.write_text(f"{lines}\n")
    for name, content in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    assert list(dict.fromkeys(cores.quotas(proc, tmp_path / "mount"))) == expected


def test_a_system_without_cgroups_has_no_quotas(tmp_path: Path) -> None:
    assert list(cores.quotas(tmp_path / "missing", tmp_path)) == []


def test_the_affinity_counts() -> None:
    one = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, {{{one}}}); from runner import cores; print(cores.usable(), cores.for_numbers())"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "1 1\n"


@pytest.mark.parametrize(("asked", "most"), [("1", 1), ("1,4", 1), ("", None), ("many", None), ("0", None), ("10000", None)])
def test_the_numerical_library_has_no_more_threads_than_its_users_allow(
    asked: str, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores.for_numbers() == (most or cores.usable())
