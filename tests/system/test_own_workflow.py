"""Workflows of one's own, from the user's folder: run, stopped, resumed, swept, drawn, scored; and what is trusted of them."""

import json
import os
import random
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of, restore
from tests import forked
from tests.conftest import Run
from tests.servers import sqlite
from tests.states import differences, workflow_state
from tests.system.test_cli import configs_of_a_sweep_and_its_resumption
from tests.system.test_resume import epoch_lines, final_snapshot, run_until_signal

EXAMPLES = Path(__file__).parents[2] / "examples"
KMEANS = ("conf=kmeans", "seed=5", "workflow.rounds=4000")
SMALL = ("conf=kmeans", "seed=5", "workflow.rounds=50", "snapshotter.interval=20")
NOISY = ("conf=noisy", "seed=5")


def user_folder(folder: Path) -> Path:
    """Makes a user's folder: the examples' modules and conf files, and nothing else."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(EXAMPLES / "conf", folder / "conf")
    for path in EXAMPLES.glob("*.py"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return user_folder(tmp_path)


def state_of(folder: Path, location: str, monkeypatch: pytest.MonkeyPatch, *modules: str) -> dict[str, bytes]:
    monkeypatch.syspath_prepend(str(folder))
    path = location if location.startswith("odbc://") else folder / location
    return workflow_state(restore(path, trusted=modules).workflow)


@pytest.mark.parametrize(
    ("arguments", "module", "odbc"),
    [
        (KMEANS, "kmeans", True),
    ],
    ids=["kmeans in a database"],
)
def test_a_run_that_is_stopped_twice_ends_like_one_that_is_not(
    arguments: tuple[str, ...],
    module: str,
    odbc: bool,
    folder: Path,
    veles_run: Run,
    rng: random.Random,
    odbc_folder,
    monkeypatch,
) -> None:
    places = ["report=false", *([f"snapshotter.odbc={sqlite(folder).odbc}"] if odbc else [])]
    whole = veles_run(*arguments, "report=false", f"hydra.run.dir={folder / 'whole'}").stdout
    code, output = run_until_signal(folder, [*arguments, *places], signal.SIGTERM, rng)
    seen = epoch_lines(output)
    assert code == 75, output
    resumed = [f"snapshot={final_snapshot(output)}", f"restore.trusted=[{module}]", *places]
    code, output = run_until_signal(folder, resumed, signal.SIGINT, rng)
    seen += epoch_lines(output)
    assert code in (130, 0), output
    if code:
        output = veles_run(arguments[0], "snapshot=latest", *places).stdout
        seen += epoch_lines(output)
    assert seen == epoch_lines(whole)
    ends = [state_of(folder, final_snapshot(text), monkeypatch, module) for text in (whole, output)]
    assert differences(*ends) == []


def test_keys_below_workflow_are_the_constructors_arguments(folder: Path, veles_run: Run) -> None:
    output = veles_run(*SMALL, "workflow.clusters=3", "workflow.name=mine", "plotters=true").stdout
    assert "Running mine: seed 5, cpu" in output
    assert "Snapshot written: outputs/" in output
    assert "mine_round_50.5.pickle.gz" in output
    assert re.search(r"^Mean squared distance: [\d.]+$", output, re.MULTILINE)
    header = header_of(folder / final_snapshot(output))
    assert (header.workflow_class, header.epoch, header.complete) == ("kmeans:KMeans", 50, True)
    assert header.config["workflow"]["clusters"] == 3
    assert set(header.code) >= {"kmeans"}
    graph = folder / "graph.svg"
    assert f"Graph of kmeans: {graph}" in veles_run(*SMALL, f"graph={graph}").stdout
    assert "assign" in graph.read_text()
    assert next(folder.glob("outputs/*/*/*/plot_spread.png")).stat().st_size > 1000
    assert len(list(folder.glob("outputs/*/*/*/*.pickle*"))) == 4  # 20, 40, 50, and the link to the newest


def test_a_complete_run_is_extended_scored_and_goes_on_identically(folder: Path, veles_run: Run, monkeypatch) -> None:
    first = veles_run(*SMALL).stdout
    whole = veles_run(*SMALL[:-2], "workflow.rounds=90", "snapshotter.interval=20").stdout
    extend = re.search(r"^Extend: veles-run (.*) workflow.rounds=100$", first, re.MULTILINE)[1]
    extended = veles_run(*extend.split(), "workflow.rounds=90").stdout
    assert re.search(r"workflow\.rounds +│ 50 +│ 90", extended)
    states = [state_of(folder, final_snapshot(output), monkeypatch, "kmeans") for output in (whole, extended)]
    assert differences(*states) == []
    again = veles_run("conf=kmeans", "snapshot=latest").stdout
    assert "Mean squared distance" in again
    newest = re.search(r"^Resuming from (\S+) ", again, re.MULTILINE)[1]
    assert f"Extend: veles-run conf=kmeans snapshot={newest} workflow.rounds=" in again
    scored = veles_run("conf=kmeans", "snapshot=latest", "mode=evaluate").stdout
    assert re.search(r": distance of all points [\d.]+$", scored, re.MULTILINE)


def test_a_sweep_of_arguments_and_its_resumption(folder: Path, veles_run: Run) -> None:
    sweep = ["-m", *SMALL, "workflow.clusters=2,3"]
    for configs in configs_of_a_sweep_and_its_resumption(veles_run, folder, sweep, "kmeans_round_50*"):
        assert [config["workflow"]["clusters"] for config in configs] == [2, 3]


def test_a_network_with_a_unit_of_ones_own_scores_what_its_name_says(folder: Path, veles_run: Run) -> None:
    output = veles_run(*NOISY, "decision.max_epochs=2").stdout
    named = re.findall(r"Snapshot written: (\S+validation_([\d.]+)_train\S+) ", output)
    location, error = named[-1]
    assert f"{location}: validation {error} %" in veles_run("conf=noisy", f"snapshot={location}", "mode=evaluate").stdout
    changed = veles_run("conf=noisy", f"snapshot={location}", "workflow.noise=0.1", "decision.max_epochs=3").stdout
    assert re.search(r"workflow\.noise +│ 0\.3 +│ 0\.1", changed)


def test_bad_input_has_one_clear_message(folder: Path, veles_run: Run) -> None:
    done = veles_run("conf=kmeans", "workflow.cluters=3", code=2)
    assert done.stderr == (
        "veles-run: 'workflow.cluters' is not a key of KMeans; did you mean 'clusters'?"
        " known: clusters, points, rounds, sample\n"
    )


OWN_LOADER = (
    "from runner.nn.loading.loader import FullBatchLoader\n"
    "class Closed(FullBatchLoader):\n"
    "    def __init__(self, workflow, *, seed, dtype):\n"
    "        super().__init__(workflow, seed=seed, dtype=dtype)\n"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["loader.arguments.noice=1"],
            "'loader.arguments.noice' is not a key of SpiralsLoader; did you mean 'noise'? known: arms, noise, points",
        ),
        (["loader.arguments.arms=many"], "loader.arguments.arms='many' must be of type int"),
        (["loader.data_dir=x"], "loader.data_dir does not belong to loader._target_='spirals.SpiralsLoader'"),
        (
            ["loader._target_=null"],
            "loader.arguments are for a class of your own: name it with loader._target_ (conf/spirals.yaml:4)",
        ),
        (
            ["loader._target_=spirals.np"],
            "loader._target_='spirals.np' is not a subclass of runner.nn.loading.loader.FullBatchLoader",
        ),
        (["loader._target_=Spirals"], "loader._target_='Spirals' must name a class with its module, such as my_module.Spirals"),
        (
            ["loader._target_=closed.Closed"],
            "Closed does not take 'minibatch_size': its constructor must take **settings and pass them on",
        ),
    ],
    ids=" ".join,
)
def test_a_loader_of_ones_own_is_checked(arguments: list[str], message: str, folder: Path, veles_run: Run) -> None:
    (folder / "closed.py").write_text(OWN_LOADER)
    assert veles_run("conf=spirals", *arguments, code=2).stderr == f"veles-run: {message}\n"


def test_other_data_of_a_loader_of_ones_own_are_noticed(folder: Path, veles_run: Run) -> None:
    veles_run("conf=spirals", "decision.max_epochs=1")
    error = veles_run("conf=spirals", "snapshot=latest", "loader.arguments.noise=0.5", code=2).stderr
    assert error == "veles-run: loader.arguments.noise cannot change on resume: it is as it was in the snapshot; leave it out\n"
    module = folder / "spirals.py"
    module.write_text(module.read_text().replace("default_rng(1)", "default_rng(2)"))
    error = veles_run("conf=spirals", "snapshot=latest", "decision.max_epochs=2", code=2).stderr
    assert "SpiralsLoader('loader') loads are not those of the snapshot" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("conf=kmeans", "workflow.clusters=0"),
            "workflow.clusters=0 must be at least 1, and at most the number of points, 2000",
        ),
        (("conf=noisy", "workflow.noise=-1"), "workflow.noise=-1 must be at least 0"),
    ],
)
def test_what_a_class_refuses_is_one_line(arguments: tuple[str, str], message: str, folder: Path, veles_run: Run) -> None:
    assert veles_run(*arguments, code=2).stderr == f"veles-run: {message}\n"


def test_what_cannot_change_on_resume_is_refused(folder: Path, veles_run: Run) -> None:
    veles_run(*SMALL)
    extended = veles_run("conf=kmeans", "workflow.rounds=60", "seed=5", "snapshotter.interval=20", "snapshot=auto").stdout
    assert re.search(r"^Resuming from \S+kmeans_round_50", extended, re.MULTILINE)
    error = veles_run("conf=kmeans", "snapshot=latest", "workflow.clusters=9", code=2).stderr
    assert error == "veles-run: workflow.clusters cannot change on resume: it is as it was in the snapshot; leave it out\n"


def test_a_workflow_without_a_snapshotter_runs_and_says_that_it_cannot_be_continued(folder: Path, veles_run: Run) -> None:
    (folder / "plain.py").write_text(
        "import os, signal\n"
        "from runner import Unit, Workflow\n"
        "class Ask(Unit):\n"
        "    def run(self):\n"
        "        if self.workflow.stopping:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "class Plain(Workflow):\n"
        "    def __init__(self, stopping: bool = False):\n"
        "        super().__init__()\n"
        "        self.stopping = stopping\n"
        "        self.end_point.link_from(Ask(self).link_from(Ask(self).link_from(self.start_point)))\n"
    )
    assert "Running Plain: seed" in veles_run("workflow._target_=plain.Plain").stdout
    stopped = veles_run("workflow._target_=plain.Plain", "workflow.stopping=true", code=75).stdout
    assert "There is no snapshot to continue from" in stopped


# What is trusted: the user's conf file, and what the user types; never what a snapshot says of itself.

EVIL = "import pathlib\npathlib.Path('imported').touch()\nimport kmeans\nclass KMeans(kmeans.KMeans):\n    pass\n"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a snapshot of a workflow whose module is there but never named; it claims the user's conf file."""
    folder = user_folder(tmp_path_factory.mktemp("foreign"))
    (folder / "evil.py").write_text(EVIL)
    output = forked.output([*SMALL, "workflow._target_=evil.KMeans", "plotters=false", "report=false"], cwd=folder)
    (folder / "imported").unlink()
    header = header_of(folder / final_snapshot(output))
    assert (header.conf, header.config["workflow"]["_target_"]) == ("kmeans", "evil.KMeans")
    return folder, final_snapshot(output)


@pytest.mark.parametrize(
    "arguments",
    [
        ["snapshot={}"],
        ["conf=kmeans", "snapshot=latest"],
        ["snapshot={}", "mode=evaluate", "restore.trusted=[kmeans]"],
        ["snapshot={}", "graph=graph.dot", "workflow._target_=os.system"],
    ],
    ids=" ".join,
)
def test_a_snapshot_has_no_say_in_what_is_trusted(arguments: list[str], foreign: tuple[Path, str], veles_run: Run) -> None:
    folder, location = foreign
    done = veles_run(*(argument.format(location) for argument in arguments), code=2, cwd=folder)
    assert "it names 'evil.KMeans', which is not allowed" in done.stderr
    assert "restore.trusted=[evil]" in done.stderr
    assert not (folder / "imported").exists()


def test_what_the_user_types_is_trusted(foreign: tuple[Path, str], veles_run: Run) -> None:
    folder, location = foreign
    named = ["conf=kmeans", "workflow._target_=evil.KMeans", "restore.trusted=[kmeans]"]
    assert "Resuming from" in veles_run(*named, f"snapshot={location}", cwd=folder).stdout
    assert (folder / "imported").exists()
    (folder / "imported").unlink()


def test_the_package_of_the_workflow_is_trusted_as_a_whole(folder: Path, veles_run: Run) -> None:
    package = folder / "my_pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "flow.py").write_text("from my_pkg.base import Base\nclass Flow(Base):\n    pass\n")
    shutil.move(folder / "kmeans.py", package / "base.py")
    with (package / "base.py").open("a") as file:
        file.write("\n\nclass Base(KMeans):\n    pass\n")
    conf = folder / "conf" / "kmeans.yaml"
    conf.write_text(conf.read_text().replace("kmeans.KMeans", "my_pkg.flow.Flow"))
    veles_run(*SMALL)
    assert "Resuming from" in veles_run("conf=kmeans", "snapshot=latest").stdout
    error = veles_run(f"snapshot={next(folder.glob('outputs/*/*/*/*_50.5*'))}", code=2).stderr
    assert "restore.trusted=[my_pkg" in error


def test_the_tutorial_as_it_is_written(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "workflows.md").read_text()
    (tmp_path / "conf").mkdir()
    (tmp_path / "walk.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    (tmp_path / "conf" / "walk.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    commands = re.search(r"```bash\n(.*?)```", page, re.DOTALL)[1].splitlines()
    told = []
    for command in commands:
        done = forked.run(command.split()[1:], cwd=tmp_path, environment=os.environ, timeout=60)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert [re.findall(r"^Ended at -?\d+$", text, re.MULTILINE) != [] for text in told] == [True] * 4 + [False]
    assert "walk_4000.5.pickle.gz" in told[2]
    assert (tmp_path / "walk.svg").exists()


def test_classes_that_have_moved_are_found(tmp_path: Path, veles_run: Run) -> None:
    """The option is typed as the manual has it; the conf file, or the call, may name the class where it is today."""
    text = (
        "from runner import Bool, Repeater, SnapshotterToFile, Unit, Workflow\n\n\n"
        "class Count(Unit):\n"
        "    def __init__(self, workflow):\n"
        "        super().__init__(workflow)\n"
        "        self.n, self.done = 0, Bool(False)\n\n"
        "    def run(self):\n"
        "        self.n += 1\n"
        "        self.done <<= self.n >= 20\n\n\n"
        "class Flow(Workflow):\n"
        "    def __init__(self):\n"
        "        super().__init__(name='flow')\n"
        "        repeater = Repeater(self).link_from(self.start_point)\n"
        "        count = Count(self).link_from(repeater)\n"
        "        snapshotter = SnapshotterToFile(self, directory='s', interval=5).link_from(count)\n"
        "        snapshotter.link_attrs(count, ('suffix', 'n'), ('complete', 'done'))\n"
        "        repeater.link_from(snapshotter)\n"
        "        repeater.gate_block = count.done\n"
        "        self.end_point.link_from(snapshotter)\n"
        "        self.end_point.gate_block = ~count.done\n"
    )
    (tmp_path / "old_place.py").write_text(text)
    veles_run("workflow._target_=old_place.Flow", "snapshotter.directory=s", "snapshotter.compression=none")
    (tmp_path / "old_place.py").rename(tmp_path / "new_place.py")
    (early,) = tmp_path.glob("s/*_10.5.pickle")
    renamed = "restore.renamed={old_place.Flow: new_place.Flow, old_place.Count: new_place.Count}"
    for folder, naming in (("a", "workflow._target_=new_place.Flow"), ("b", "restore.trusted=[new_place]")):
        veles_run(f"snapshot={early}", naming, renamed, f"snapshotter.directory={folder}", "snapshotter.compression=none")
        (last,) = (path for path in (tmp_path / folder).glob("*_20.5.pickle") if not path.is_symlink())
        assert b"new_place" in last.read_bytes()
    done = veles_run(f"snapshot={early}", "workflow._target_=new_place.Flow", code=None)
    assert done.returncode != 0
    assert "old_place.Flow" in done.stderr


NESTED = """
import random

from runner import Bool, Repeater, SnapshotterToFile, Unit, Workflow


class Step(Unit):
    def __init__(self, workflow, steps):
        super().__init__(workflow, "step")
        self.steps, self.n, self.place, self.done = steps, 0, 0, Bool(False)

    def run(self):
        self.place += random.choice((-1, 1))
        self.n += 1
        self.done <<= self.n >= self.steps


class Draw(Unit):
    def __init__(self, workflow, name):
        super().__init__(workflow, name)
        self.drawn = 0.0

    def run(self):
        self.drawn = random.random()


class Inner(Workflow):
    def __init__(self, workflow, steps):
        super().__init__(workflow, "inner")
        repeater = Repeater(self).link_from(self.start_point)
        self.step = Step(self, steps).link_from(repeater)
        snapshotter = SnapshotterToFile(self, interval=10**6).link_from(self.step)
        snapshotter.link_attrs(self.step, ("suffix", "n"), ("complete", "done"))
        repeater.link_from(snapshotter)
        repeater.gate_block = self.step.done
        self.end_point.link_from(snapshotter)
        self.end_point.gate_block = ~self.step.done


class Outer(Workflow):
    def __init__(self, steps=300000):
        super().__init__()
        self.before = Draw(self, "before").link_from(self.start_point)
        self.inner = Inner(self, steps).link_from(self.before)
        self.after = Draw(self, "after").link_from(self.inner)
        self.end_point.link_from(self.after)

    @property
    def summary(self):
        return f"Ended at {self.inner.step.place}, {self.before.drawn}, {self.after.drawn}"
"""


def test_a_snapshotter_in_a_nested_workflow_keeps_all_that_is_around_it(tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(NESTED)
    words = ["workflow._target_=nested.Outer", "snapshotter.interval=1000000", "seed=1", "plotters=false", "report=false"]
    unbroken = forked.output(words, cwd=tmp_path)
    with forked.Started(words, cwd=tmp_path) as started:
        started.wait_for(lambda: "Running" in started.output)
        started.send_signal(signal.SIGTERM)
        stopped = started.end(60)
    assert stopped.returncode == 75, stopped.stderr
    command = re.search(r"^Continue: veles-run (.*)$", stopped.stdout, re.MULTILINE)
    went_on = forked.output([*shlex.split(command[1]), *words[-2:]], cwd=tmp_path)
    ends = [re.findall(r"^Ended at .*$", text, re.MULTILINE) for text in (unbroken, went_on)]
    assert ends[0] == ends[1] != []


TWO = (
    NESTED.partition("class Draw")[0]
    + """
class Flow(Workflow):
    def __init__(self, steps=100):
        super().__init__()
        repeater = Repeater(self).link_from(self.start_point)
        step = Step(self, steps).link_from(repeater)
        often = SnapshotterToFile(self, "often", interval=20, directory="often", compression="xz").link_from(step)
        seldom = SnapshotterToFile(self, "seldom", prefix="seldom").link_from(often)
        for snapshotter in (often, seldom):
            snapshotter.link_attrs(step, ("suffix", "n"), ("complete", "done"))
        repeater.link_from(seldom)
        repeater.gate_block = step.done
        self.end_point.link_from(seldom)
        self.end_point.gate_block = ~step.done
"""
)


def test_what_a_class_gives_its_snapshotters_does_not_make_way_unsaid(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    words = ["workflow._target_=two.Flow", "plotters=false", "report=false", "hydra.run.dir=out"]
    done = forked.run([*words, "snapshotter.interval=50"], cwd=tmp_path, environment=os.environ, timeout=60)
    assert done.returncode == 0, done.stderr
    told = [line for line in (done.stdout + done.stderr).splitlines() if "what the class gives" in line]
    assert [("'often'" in line, "xz" in line, "place often" in line, "interval" in line) for line in told] == [
        (True, True, True, False),
        (False, False, False, False),
    ]
    result = json.loads((tmp_path / "out/result.json").read_text())
    newest = max(
        (path for path in tmp_path.glob("out/*_100*.gz") if not path.is_symlink()), key=lambda path: header_of(path).time
    )
    assert result["last_snapshot"] == newest.relative_to(tmp_path).as_posix()
