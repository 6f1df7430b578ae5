"""Pictures of real runs, with real faults; and that a run is the same with them and without."""

import os
import random
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from runner.snapshots.restoring.restore import restore
from tests import forked
from tests.conftest import Run
from tests.states import differences, workflow_state
from tests.system.test_full_disk import mounted
from tests.system.test_resume import epoch_lines, final_snapshot, run_with_stops

PICTURES = True
BASE = ("conf=mnist_small", "seed=7", "decision.max_epochs=6")
WANTED = {"plot_confusion.png", "plot_errors.png", "plot_weights.png"}


def state_of(path: Path) -> dict[str, bytes]:
    return workflow_state(restore(path).workflow)


def drawn(folder: Path) -> set[str]:
    """Returns the names of the pictures, each of which must be whole."""
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.verify()
    return {path.name for path in folder.iterdir() if "plot" in path.name or path.suffix in (".png", ".tmp")}


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], list[str]]:
    """The end of a run that draws nothing, and its lines."""
    folder = tmp_path_factory.mktemp("without")
    output = forked.output([*BASE, "plotters=false", "report=false", "hydra.run.dir=run"], cwd=folder)
    assert drawn(folder / "run") == set()
    return state_of(folder / final_snapshot(output)), epoch_lines(output)


def test_a_run_is_the_same_with_pictures(veles_run: Run, tmp_path: Path, without) -> None:
    done = veles_run(*BASE, "hydra.run.dir=run")
    assert drawn(tmp_path / "run") == WANTED
    assert epoch_lines(done.stdout) == without[1]
    assert differences(without[0], state_of(tmp_path / final_snapshot(done.stdout))) == []


def test_stopped_and_continued_runs_are_the_same_whether_they_draw_or_not(
    veles_run: Run, tmp_path: Path, rng: random.Random, without
) -> None:
    def plotters() -> str:
        return f"plotters={rng.choice(['true', 'false'])}"

    def again(snapshot: str) -> list[str]:
        return [f"snapshot={snapshot}", plotters()]

    seen, output = run_with_stops(veles_run, tmp_path, [*BASE, plotters()], signal.SIGTERM, rng, again)
    assert seen == without[1]
    assert differences(without[0], state_of(tmp_path / final_snapshot(output))) == []


def test_a_continued_run_shows_all_epochs(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*BASE, "decision.max_epochs=2", "hydra.run.dir=first")
    veles_run(*BASE[:1], "snapshot=latest", "snapshotter.directory=first", "decision.max_epochs=3", "hydra.run.dir=second")
    assert drawn(tmp_path / "second") == WANTED


def test_a_convolutional_network_and_an_autoencoder(veles_run: Run, tmp_path: Path) -> None:
    small = ("loader.train_size=200", "loader.validation_size=100", "decision.max_epochs=1", "seed=1")
    veles_run("conf=mnist_conv", *small, "hydra.run.dir=conv")
    assert drawn(tmp_path / "conv") == WANTED
    veles_run("conf=mnist_ae", *small, "hydra.run.dir=ae")
    assert drawn(tmp_path / "ae") == WANTED - {"plot_confusion.png"}


def test_sweeps_draw_when_they_are_asked_to(veles_run: Run, tmp_path: Path) -> None:
    sweep = ("-m", *BASE[:1], "decision.max_epochs=1", "seed=1,2")
    veles_run(*sweep, "hydra.sweep.dir=quiet")
    veles_run(*sweep, "plotters=true", "hydra.sweep.dir=drawn")
    assert [drawn(tmp_path / "quiet" / number) for number in "01"] == [set(), set()]
    assert [drawn(tmp_path / "drawn" / number) for number in "01"] == [WANTED, WANTED]


def test_the_run_itself_never_loads_matplotlib(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('loaded' if 'matplotlib' in sys.modules else 'not loaded'))\n"
        "from runner.cli.run import main\n"
        f"sys.argv[1:] = {[*BASE, 'hydra.run.dir=run']!r}\n"
        "main()\n"
    )
    (tmp_path / "watching.py").write_text(code)
    done = forked.run(["watching.py"], cwd=tmp_path, environment=os.environ, timeout=60, command="python")
    assert done.stdout.endswith("not loaded\n")
    assert drawn(tmp_path / "run") == WANTED


def test_without_matplotlib_nothing_is_drawn_and_asking_for_it_is_an_error(tmp_path: Path) -> None:
    import matplotlib

    installed = Path(matplotlib.__file__).parents[1]
    library = tmp_path / "library"
    library.mkdir()
    for path in installed.iterdir():
        if not path.name.startswith(("matplotlib", "mpl_toolkits")):
            (library / path.name).symlink_to(path)
    here = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, str(library)])}
    command = [sys.executable, "-S", "-m", "runner", *BASE]
    run = lambda *more: subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)  # noqa: E731
    done = run("hydra.run.dir=run")
    assert (done.returncode, done.stderr) == (0, "")
    assert drawn(tmp_path / "run") == set()
    asked = run("plotters=true")
    assert asked.returncode == 2
    assert asked.stderr == (
        "veles-run: plotters=true needs matplotlib, which is not installed: pip install 'veles-runner[plot]'\n"
    )


def painter_of(run: forked.Started) -> int:
    """Waits for the process that draws, and returns it."""
    found: list[int] = []

    def seen() -> list[int]:
        children = [int(pid) for path in Path(f"/proc/{run.pid}/task").glob("*/children") for pid in path.read_text().split()]
        found[:] = [pid for pid in children if b"runner.plots.painter" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found

    run.wait_for(seen)
    return found[0]


def started(folder: Path, *arguments: str) -> forked.Started:
    return forked.Started([*arguments, "hydra.run.dir=run", "report=false"], cwd=folder)


def test_a_killed_painter_is_told_once_and_changes_nothing(tmp_path: Path, without) -> None:
    with started(tmp_path, *BASE) as run:
        os.kill(painter_of(run), signal.SIGKILL)
        done = run.end(60)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert re.findall("^Pictures are missing.*", output, re.MULTILINE) == [
        "Pictures are missing in run (the process that draws has ended with status -9); the run goes on"
    ]
    assert epoch_lines(output) == without[1]
    assert differences(without[0], state_of(tmp_path / final_snapshot(output))) == []


def test_the_painter_ends_when_the_run_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, "conf=mnist_small", "decision.max_epochs=1000") as run:
        painter = os.pidfd_open(painter_of(run))
        run.send_signal(signal.SIGKILL)
        run.end(60)
    ended, _, _ = select.select([painter], [], [], 60)
    os.close(painter)
    assert ended


def test_a_full_disk_is_told_once_and_changes_nothing(tmp_path: Path, without) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        with started(folder, *BASE, f"snapshotter.directory={tmp_path / 'snapshots'}") as run:
            done = run.end(60)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert drawn(folder / "run") < WANTED
    [warning] = re.findall("^Pictures are missing.*", output, re.MULTILINE)
    assert "No space left on device" in warning
    assert epoch_lines(output) == without[1]
    assert differences(without[0], state_of(Path(final_snapshot(output)))) == []
