"""The command line: what a user types, what comes back, and with which exit code."""

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner.snapshots.restoring.restore import header_of, restore
from tests import forked
from tests.conftest import Run
from tests.system.test_resume import final_snapshot

SMALL = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=100")
CONFS = ", ".join(sorted(path.stem for path in (Path(__file__).parents[2] / "conf").glob("*.yaml")))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a finished run of two epochs, and its last snapshot."""
    folder = tmp_path_factory.mktemp("finished")
    output = forked.output([*SMALL, "decision.max_epochs=2", "seed=3", "plotters=false", "report=false"], cwd=folder)
    assert re.search(r"^Best validation error: \d+\.\d\d % \(epoch \d\)$", output, re.MULTILINE)
    assert re.search(r"^Snapshots: outputs/\S+$", output, re.MULTILINE)
    assert re.search(r"^Extend: veles-run conf=mnist_small snapshot=\S+ decision\.max_epochs=4$", output, re.MULTILINE)
    return folder, final_snapshot(output)


BAD = {
    "no conf": ([], f"conf=NAME says what to run; known: {CONFS}"),
    "unknown conf": (["conf=nope"], f"conf=nope is not known; known: {CONFS}"),
    "unknown key": (
        ["conf=mnist_small", "decision.foo=1"],
        "'decision.foo' is not a key; ",
    ),
    "unknown section": (["conf=mnist_small", "foo.bar=1"], "foo"),
    "unknown key of a layer": (
        ["conf=mnist_small", "layers.fc1.size=1"],
        "layers.fc1.size is not a key of a 'all2all_tanh' layer; known:",
    ),
    "empty snapshot": (["-w", "empty"], "snapshot 'empty' cannot be used: it is empty"),
    "no snapshot at all": (["-w", "text"], "snapshot 'text' cannot be used: it is not a snapshot of veles-run"),
    "truncated snapshot": (["-w", "truncated"], "snapshot 'truncated' cannot be used: it is truncated"),
    "newer format": (["-w", "newer"], "cannot be used: it has format version 99, and this veles-run reads up to 2: upgrade"),
    "another workflow": (["conf=mnist", "snapshot={last}"], "is of workflow 'mnist_small', and conf=mnist is 'mnist'"),
    "size on resume": (["snapshot={last}", "layers.fc1.output_sample_shape=7"], "layers.fc1.output_sample_shape is fixed"),
    "seed on resume": (["snapshot={last}", "seed=8"], "seed cannot change on resume"),
    "two snapshots": (
        ["conf=mnist_small", "snapshot=a", "--snapshot", "b"],
        "snapshot is given 2 times (snapshot=a, snapshot=b)",
    ),
    "flag without value": (["--snapshot"], "--snapshot needs a value: --snapshot FILE"),
}


@pytest.fixture(scope="module")
def bad_files(finished: tuple[Path, str]) -> tuple[Path, str]:
    folder, last = finished
    data = (folder / last).read_bytes()
    (folder / "empty").touch()
    (folder / "text").write_text("some text")
    (folder / "truncated").write_bytes(data[: len(data) // 2])
    from runner.snapshots import codecs

    plain = b"".join(codecs.decode(codecs.CODECS["gz"], [data]))
    newer = re.sub(rb'"format":2\}', b'"format":99}', plain)
    (folder / "newer").write_bytes(newer[:3] + (int.from_bytes(newer[3:7], "little") + 1).to_bytes(4, "little") + newer[7:])
    return folder, last


@pytest.mark.parametrize("case", BAD)
def test_bad_input_has_one_clear_message(case: str, bad_files: tuple[Path, str], veles_run: Run) -> None:
    folder, last = bad_files
    arguments, message = BAD[case]
    done = veles_run(*(argument.format(last=last) for argument in arguments), code=2, cwd=folder)
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.startswith("veles-run: ")
    assert len(done.stderr.splitlines()) == 1


def test_traceback_on_demand(tmp_path: Path) -> None:
    environment = os.environ | {"HYDRA_FULL_ERROR": "1"}
    done = forked.run(["conf=mnist_small", "snapshotter.interval=0"], cwd=tmp_path, environment=environment, timeout=60)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "snapshotter.interval=0 must be at least 1" in done.stderr


def test_help_lists_conf_files_and_does_not_import_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "runner", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(rf"^conf: {CONFS}$", done.stdout, re.MULTILINE)
    assert "--snapshot FILE" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "runner.cli.run" in imported
    assert not imported & {"torch", "numpy", "networkx", "rich"}


def test_cfg_job_shows_the_configuration(veles_run: Run) -> None:
    shown = veles_run("conf=mnist_small", "layers.fc1.output_sample_shape=7", "--cfg", "job").stdout
    assert "output_sample_shape: 7" in shown
    assert "compression: gz" in shown


@pytest.mark.parametrize(
    "spelling",
    [
        ["conf=mnist_small", "+snapshot={last}"],
        ["conf=mnist_small", "snapshot={last}"],
        ["--snapshot", "{last}"],
        ["-w", "{last}"],
        ["conf=mnist_small", "snapshot=latest"],
        [*SMALL, "seed=3", "snapshot=auto"],
    ],
    ids=" ".join,
)
def test_a_complete_run_says_how_to_extend_it(spelling: list[str], finished: tuple[Path, str], veles_run: Run) -> None:
    folder, last = finished
    output = veles_run(*(argument.format(last=last) for argument in spelling), cwd=folder).stdout
    assert f"Resuming from {last} (2 epochs done)" in output
    assert "The run is complete: it has reached decision.max_epochs=2" in output
    assert re.search(r"Extend it: veles-run .*decision\.max_epochs=4", output)


def test_overrides_on_resume_are_shown_and_kept(finished: tuple[Path, str], tmp_path: Path, veles_run: Run) -> None:
    folder, last = finished
    typed = ["decision.max_epochs=3", "layers.fc1.learning_rate=0.01", "layers.dropout1.dropout_ratio=0.2"]
    output = veles_run(f"snapshot={folder / last}", *typed).stdout
    for key, was, now in (("decision.max_epochs", 2, 3), ("layers.fc1.learning_rate", 0.1, 0.01)):
        assert re.search(rf"│ {re.escape(key)} +│ {was} +│ {now} +│", output)
    again = restore(tmp_path / final_snapshot(output))
    assert again.workflow["gd_fc1"].steps["weights"].rate == 0.01
    assert again.workflow["dropout1"].dropout_ratio == 0.2
    assert again.header.config["layers"]["fc1"]["learning_rate"] == 0.01


def test_a_snapshot_scores_what_its_name_says(finished: tuple[Path, str], veles_run: Run) -> None:
    folder, _ = finished
    named = sorted(folder.glob("outputs/*/*/*/mnist_small_validation_*"))
    assert len(named) >= 1
    for path in named:
        error = re.search(r"validation_(\d+\.\d\d)", path.name)[1]
        output = veles_run("-w", path, "mode=evaluate", cwd=folder).stdout
        assert re.search(rf"^{re.escape(str(path))}: validation {error} %$", output, re.MULTILINE)


def test_auto_without_a_snapshot_starts_afresh_and_says_so(veles_run: Run) -> None:
    output = veles_run(*SMALL, "snapshot=auto", "decision.max_epochs=1").stdout
    assert "snapshot=auto: there is no snapshot of 'mnist_small' in outputs and multirun; starting afresh" in output
    assert "Epoch 1:" in output


def test_two_runs_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    arguments = (*SMALL, "decision.max_epochs=1", "report=false", "plotters=false")
    with ExitStack() as stack:
        started = [stack.enter_context(forked.Started(arguments, cwd=tmp_path)) for _ in range(3)]
        assert [one.end(60).returncode for one in started] == [0, 0, 0]
    assert len(list(tmp_path.glob("outputs/mnist_small/*/*"))) == 3


def configs_of_a_sweep_and_its_resumption(
    veles_run: Run, folder: Path, sweep: list[str], names: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Runs a sweep twice; returns the configurations of the jobs' snapshots, and of those that were resumed."""
    veles_run(*sweep)
    made = sorted(folder.glob(f"multirun/*/*/*/*/{names}"))
    resumed = re.findall(r"Resuming from (\S+) ", veles_run(*sweep, "snapshot=auto").stdout)
    return [header_of(path).config for path in made], [header_of(folder / path).config for path in resumed]


def test_a_sweep_runs_each_job_and_auto_resumes_its_own(tmp_path: Path, veles_run: Run) -> None:
    sweep = ["-m", *SMALL, "decision.max_epochs=1", "layers.fc1.learning_rate=0.1,0.01", "snapshotter.compression=xz"]
    for configs in configs_of_a_sweep_and_its_resumption(veles_run, tmp_path, sweep, "*validation*.pickle.xz"):
        assert [config["layers"]["fc1"]["learning_rate"] for config in configs] == [0.1, 0.01]


def test_main_gives_sweepers_the_best_validation_error(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "spy.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "class Spy(Callback):\n"
        "    def on_job_end(self, config, job_return, **kwargs):\n"
        "        print('objective', job_return.return_value)\n"
    )
    output = veles_run("-m", *SMALL, "decision.max_epochs=1", "+hydra.callbacks.spy._target_=spy.Spy").stdout
    best = re.search(r"Best validation error: (\S+) %", output)[1]
    assert float(re.search(r"objective (\S+)", output)[1]) == pytest.approx(float(best), abs=0.005)


def test_the_users_own_conf_comes_first(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mnist_small.yaml").write_text("# @package _global_\nlayers: {}\n")
    (tmp_path / "conf" / "mine.yaml").write_text("# @package _global_\nlayers: {}\n")
    for name in ("mnist_small", "mine"):
        assert "layers is empty: a network has at least one layer" in veles_run(f"conf={name}", code=2).stderr


def test_velesian_layers_and_their_overrides(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "veles.yaml").write_text(
        "# @package _global_\n"
        "loader: {train_size: 600, validation_size: 100}\n"
        "layers:\n"
        "  - {type: all2all_tanh, name: fc1, '->': {output_sample_shape: 20},\n"
        "     '<-': {learning_rate: 0.1, gradient_momentum: 0.5}}\n"
        "  - {type: softmax, '->': {output_sample_shape: 10}, '<-': {learning_rate: 0.1}}\n"
        "decision: {max_epochs: 1}\n"
    )
    output = veles_run("conf=veles", "layers.fc1.learning_rate=0.05").stdout
    workflow = restore(tmp_path / final_snapshot(output)).workflow
    assert (workflow["gd_fc1"].steps["weights"].rate, workflow["gd_fc1"].steps["weights"].momentum) == (0.05, 0.5)
    assert workflow["softmax2"].weights.shape == (10, 20)


def test_bash_completes_conf_files_and_keys(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "veles-run"
    command.write_text(f"#!{sys.executable}\nfrom runner.cli.run import main\nmain()\n")
    command.chmod(0o755)
    script = (
        'eval "$(veles-run -sc install=bash)"\n'
        "complete_line() { COMP_LINE=$1; COMP_POINT=${#1}; COMP_WORDS=($1); COMP_CWORD=1; COMPREPLY=();"
        ' hydra_bash_completion; echo "${COMPREPLY[@]}"; }\n'
        "complete_line 'veles-run conf=mn'\n"
        "complete_line 'veles-run decision.max'\n"
    )
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "mnist_small" in done.stdout
    assert "decision.max_epochs=" in done.stdout
