"""Where Hydra puts a run's folder, and where it goes while the job runs, changes nothing else."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import VELES_RUN, Run
from tests.system.test_resume import final_snapshot

SHORT = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=200", "decision.max_epochs=1", "plotters=false")


@pytest.mark.parametrize("folder", [".", "runs/a", "..", "{tmp_path}/č"])
def test_any_folder_has_the_run(folder: str, tmp_path: Path, veles_run: Run) -> None:
    here = tmp_path / "here"
    here.mkdir()
    run = (*SHORT, f"hydra.run.dir='{folder.format(tmp_path=tmp_path)}'")
    assert (here / final_snapshot(veles_run(*run, cwd=here).stdout)).is_file()
    assert "Resuming from" in veles_run(*run, "snapshot=auto", cwd=here).stdout


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/none", "x" * 300])
def test_a_folder_that_cannot_be_made_is_refused_in_one_line(folder: str, tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "file").touch()
    done = veles_run(*SHORT, f"hydra.run.dir={folder}", code=2)
    assert len(done.stderr.splitlines()) == 1
    assert "hydra.run.dir" in done.stderr
    assert folder in done.stderr


@pytest.mark.parametrize("depth", [1, 17])
def test_a_path_that_is_too_long_is_refused_before_the_first_epoch(depth: int, tmp_path: Path, veles_run: Run) -> None:
    folder = "/".join(["x" * (300 if depth == 1 else 240)] * depth)
    done = veles_run(*SHORT, f"snapshotter.directory={folder}", code=1)
    assert "Epoch 1" not in done.stdout
    assert re.fullmatch(
        r"veles-run: cannot write to 'x+(/x+)*': File name too long \(.*snapshotter\.directory=.*\)\n", done.stderr
    )


def test_a_name_that_is_too_long_is_cut_in_its_middle(tmp_path: Path, veles_run: Run) -> None:
    long = (*SHORT, f"snapshotter.prefix={'ж' * 240}")
    location = final_snapshot(veles_run(*long).stdout)
    assert re.fullmatch(r"ж{70,}_validation_[\d.]+_train_[\d.]+\.5\.pickle\.gz", Path(location).name)
    assert f"Resuming from {location}" in veles_run(*long, "snapshot=latest").stdout


def test_changing_the_folder_changes_no_path(tmp_path: Path, veles_run: Run) -> None:
    changing = ("hydra.job.chdir=true", "snapshotter.directory=snapshots")
    output = veles_run(*SHORT, *changing).stdout
    assert "hydra.job.chdir=true changes nothing" in output
    assert (tmp_path / "snapshots" / "mnist_small_current.5.pickle.gz").is_file()
    command = re.search(r"^Extend: veles-run (.*)$", output, re.MULTILINE)[1].split()
    assert "Epoch 2" in veles_run(*command).stdout
    assert "Resuming from" in veles_run(*SHORT, *changing, "snapshot=auto").stdout


def test_a_database_is_where_the_command_was_typed(tmp_path: Path, veles_run: Run, odbc_folder: Path) -> None:
    database = "snapshotter.odbc='DRIVER={SQLite3};Database=runs.db'"
    veles_run(*SHORT, "hydra.job.chdir=true", database)
    assert (tmp_path / "runs.db").is_file()
    assert "Resuming from" in veles_run(*SHORT, "hydra.job.chdir=true", database, "snapshot=latest").stdout


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    script = f"cd gone && rmdir ../gone && {' '.join(VELES_RUN)} {' '.join(SHORT)}"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the current folder has been deleted" in done.stderr.splitlines()[-1]
