"""A conf file, or an environment, that has changed since the snapshot is told on resume, with what to type to have it."""

import os
import re
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from runner.snapshots.restoring.restore import header_of, restore
from tests.conftest import Run
from tests.system.test_evaluate import CONF, snapshot_of, write_table

REFERRING = CONF.replace("learning_rate: 0.05", "learning_rate: '${oc.env:RATE}'").replace("va.csv", "'${oc.env:DATA}/va.csv'")
REFERRING += 'workflow: {name: "${oc.env:NAME}"}\n'
TOLD = "What conf=c or the environment says is not what the run has"


@pytest.fixture(autouse=True)
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path, tmp_path / "moved"):
        folder.mkdir(exist_ok=True)
        for seed, name in enumerate(("tr", "va"), 1):
            write_table(folder / f"{name}.csv", seed, 60)
    for name, value in {"RATE": "0.05", "DATA": ".", "NAME": "c"}.items():
        monkeypatch.setenv(name, value)


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "conf").mkdir(exist_ok=True)
    (tmp_path / "conf" / "c.yaml").write_text(text)


def told(output: str) -> tuple[str, list[str]]:
    """Returns what is told, and what to type."""
    (line,) = re.findall(rf"^{TOLD}.*$", output, re.MULTILINE)
    line = line.replace(" What was fixed when the run began, only a fresh one has otherwise.", "")
    message, _, command = line.partition(" To have what is there, type: ")
    return message, shlex.split(command)


def test_a_conf_file_that_has_changed(veles_run: Run, tmp_path: Path) -> None:
    write(tmp_path, CONF)
    start = ["conf=c", "seed=1", "decision.max_epochs=1", "lr_adjuster.policy=exp", "lr_adjuster.gamma=0.5"]
    first = snapshot_of(veles_run(*start).stdout)
    again = veles_run("conf=c", f"snapshot={first}", "decision.max_epochs=2").stdout
    assert TOLD not in again  # what was typed then is no change, nor is it in a later process
    second = snapshot_of(again)
    assert TOLD not in veles_run("conf=c", f"snapshot={second}", "decision.fail_iterations=50").stdout
    edited = CONF.replace("learning_rate: 0.05", "learning_rate: 0.2").replace("minibatch_size: 20", "minibatch_size: 10")
    write(tmp_path, edited + "rollback: {fail_iterations: null}\n")
    output = veles_run("conf=c", f"snapshot={second}", "decision.max_epochs=3").stdout
    message, command = told(output)
    assert "layers.fc1.learning_rate is 0.2 there, and 0.05 in the run" in message
    # What is fixed is not offered: typed, it would be refused.
    assert "loader.minibatch_size is 10 there, and 20 in the run" in message
    assert output.count("What was fixed when the run began, only a fresh one has otherwise") == 1
    assert command == ["layers.fc1.learning_rate=0.2", "layers.out.learning_rate=0.2"]
    assert restore(tmp_path / snapshot_of(output)).workflow["gd_fc1"].steps["weights"].rate == 0.05
    # What is typed is no longer told; a size that is fixed is refused by name.
    output = veles_run("conf=c", f"snapshot={second}", "decision.max_epochs=3", *command).stdout
    assert told(output)[1] == []
    assert restore(tmp_path / snapshot_of(output)).workflow["gd_fc1"].steps["weights"].rate == 0.2
    assert "loader.minibatch_size" in veles_run("conf=c", f"snapshot={second}", "loader.minibatch_size=10", code=2).stderr
    # A conf file that is wrong by now does not stop the run.
    write(tmp_path, CONF.replace("output_sample_shape: 8", "output_sample_shape: -8"))
    assert "conf=c is wrong" in veles_run("conf=c", f"snapshot={second}", "decision.max_epochs=3").stdout


def test_an_environment_that_has_changed(veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, REFERRING)
    last = snapshot_of(veles_run("conf=c", "seed=1", "decision.max_epochs=1").stdout)
    assert header_of(tmp_path / last).referenced == {"layers.fc1.learning_rate": 0.05, "layers.out.learning_rate": 0.05}
    resume = ["conf=c", f"snapshot={last}", "decision.max_epochs=2"]
    assert TOLD not in veles_run(*resume).stdout
    monkeypatch.setenv("RATE", "0.3")
    monkeypatch.setenv("DATA", "moved")
    output = veles_run(*resume).stdout
    message, command = told(output)
    assert "layers.fc1.learning_rate is 0.3 there, and 0.05 in the run" in message
    assert command == [
        "loader.validation_file=${oc.env:DATA}/va.csv",
        *(f"layers.{name}.learning_rate=${{oc.env:RATE}}" for name in ("fc1", "out")),
    ]
    after = restore(tmp_path / snapshot_of(output))
    assert (after.workflow["gd_fc1"].steps["weights"].rate, after.workflow.loader.validation_file) == (0.05, "./va.csv")
    # It is told until it is had.
    assert told(veles_run("conf=c", f"snapshot={snapshot_of(output)}", "decision.max_epochs=3").stdout)[1] == command
    output = veles_run(*resume, *command).stdout
    assert TOLD not in output
    after = restore(tmp_path / snapshot_of(output))
    assert (after.workflow["gd_fc1"].steps["weights"].rate, after.workflow.loader.validation_file) == (0.3, "moved/va.csv")


OPTIONAL = {
    "snapshotter.keep_last": ("null", "1"),
    "snapshotter.prefix": ("first", "second"),
    "snapshotter.compression": ("gz", "bz2"),
    "snapshotter.mode": ("0640", "0666"),
    "decision.monitor": ("null", "loss"),
    "decision.on_nan": ("stop", "ignore"),
    "lr_adjuster.policy": ("fixed", "exp"),
    "lr_adjuster.gamma": ("null", "0.5"),
    "rollback.fail_iterations": ("null", "3"),
    "layers.fc1.learning_rate_bias": ("null", "0.9"),
    "metrics.every": ("null", "1"),
    "snapshotter.on_signal.USR1": ("stop", "continue"),
}
"""Keys, each with what an environment says first and then."""


def test_what_was_null_and_what_is_a_word_stay_as_they_were(
    veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = OmegaConf.create(CONF)
    for key, (first, _) in OPTIONAL.items():
        OmegaConf.update(conf, key, f"${{oc.env:{key.rpartition('.')[2].upper()},{first}}}")
    conf.threads = "${oc.env:THREADS,null}"
    write(tmp_path, OmegaConf.to_yaml(conf))
    begun = snapshot_of(veles_run("conf=c", "seed=1", "decision.max_epochs=1").stdout)
    resume = ["conf=c", f"snapshot={begun}", "decision.max_epochs=3"]
    assert TOLD not in veles_run(*resume, "hydra.run.dir=same").stdout
    before = {path.name for path in (tmp_path / "snapshots").glob("*.pickle*") if not path.is_symlink()}
    for key, (_, then) in OPTIONAL.items():
        monkeypatch.setenv(key.rpartition(".")[2].upper(), then)
    monkeypatch.setenv("THREADS", "2")  # which each call says for itself
    output = veles_run(*resume, "hydra.run.dir=other").stdout
    assert "threads 2" in output
    message, _ = told(output)
    assert "threads" not in message
    assert [key for key in OPTIONAL if f"{key} is " not in message] == []
    same, other = (
        re.sub(r'"(seconds|samples_per_second)": [^,}]*', "", (tmp_path / name / "metrics.jsonl").read_text())
        for name in ("same", "other")
    )
    assert same == other
    after = {path for path in (tmp_path / "snapshots").glob("*.pickle*") if not path.is_symlink()}
    assert before <= {path.name for path in after}
    assert {(path.name.partition("_")[0], path.suffix, f"{path.stat().st_mode & 0o777:o}") for path in after} == {
        ("first", ".gz", "640")
    }


def test_secrets_are_not_told(veles_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, CONF)
    last = snapshot_of(veles_run("conf=c", "seed=1", "decision.max_epochs=1").stdout)
    for name in ("SECRET", "TABLE"):
        monkeypatch.setenv(name, "hunter2hunter2")
    write(
        tmp_path,
        CONF.replace("snapshots}", "snapshots, prefix: '${oc.env:SECRET}', spool: 'x;PWD=hunter3hunter3', table: plain}"),
    )
    done = veles_run("conf=c", f"snapshot={last}", "decision.max_epochs=2")
    message, command = told(done.stdout)
    assert "snapshotter.prefix is ${oc.env:SECRET} there" in message
    assert {"snapshotter.prefix=${oc.env:SECRET}", "snapshotter.spool=...", "snapshotter.table=plain"} == set(command)
    everything = done.stdout + done.stderr
    for path in tmp_path.rglob("*.log"):
        everything += path.read_text()
    assert "hunter" not in everything
    assert not [path for path in tmp_path.rglob("*") if "hunter" in os.fsencode(path).decode()]
