"""Edge cases of the command line, each in a process of its own: one clear message on stderr, exit code 2, no traceback.

What a module refuses by itself is tested with that module; here is what crosses several.
"""

import re
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import Run
from tests.system.test_resume import epoch_lines, final_snapshot

SMALL = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=100", "decision.max_epochs=1", "seed=5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with snapshots `last` and, without a validation set, `unvalidated`, and with bad conf files."""
    folder = tmp_path_factory.mktemp("edges")
    for name, arguments in {"last": SMALL, "unvalidated": (*SMALL, "loader.validation_size=0")}.items():
        given = [argument for argument in arguments if name == "last" or argument != "loader.validation_size=100"]
        output = forked.output([*given, "plotters=false", "report=false"], cwd=folder)
        (folder / name).write_bytes((folder / final_snapshot(output)).read_bytes())
    (folder / "conf").mkdir()
    (folder / "conf" / "twins.yaml").write_text("layers: [{type: dropout, name: a}, {type: dropout, name: a}]\n")
    return folder


CASES = {
    "train size above the data": (["loader.train_size=60001"], "loader.train_size=60001 is more than the 60000 samples"),
    "negative seed": (["seed=-1"], "seed=-1 must be between 0 and 2^32 - 1"),
    "layer of a wrong name": (
        ["layers.fc9.learning_rate=1"],
        "layers.fc9 has no type: did you mean 'fc1'? give layers.fc9.type, or name one of the",
    ),
    "a number that no float can hold": (
        [f"snapshotter.at_most_lost={10**400}"],
        "snapshotter.at_most_lost: a whole number has more than 308 digits",
    ),
    "the same for a run that goes on": (
        ["snapshot=last", f"snapshotter.max_overhead={10**400}"],
        "snapshotter.max_overhead: a whole number has more than 308 digits",
    ),
    "a rate that no float can hold": ([f"layers.fc1.learning_rate={10**400}"], "int too large to convert to float"),
    "unreadable value": (["decision.max_epochs=[1"], "Value '[1' of type 'str' could not be converted to Integer"),
    "snapshot of nothing": (["snapshot="], "snapshot= names no snapshot: snapshot=FILE, snapshot=latest or snapshot=auto"),
    "a folder as snapshot": (["snapshot=conf"], "'conf' is a folder, not a snapshot: name a file in it"),
    "latest in a missing folder": (["snapshot=latest", "snapshotter.directory=/no"], "no snapshot of 'mnist_small' in /no"),
    "minibatch on resume": (["snapshot=last", "loader.minibatch_size=7"], "loader.minibatch_size cannot change on resume"),
    "a layer taken away on resume": (["snapshot=last", "~layers.fc1"], "~layers.fc1: what a snapshot has cannot be taken away"),
    "a snapshot on the web": (["snapshot=http://host//a.gz"], "'http://host//a.gz': there is no store for http://; known: "),
    "a score without samples": (["snapshot=unvalidated", "mode=evaluate"], "has no validation set to score it on"),
    "two layers of one name": (["conf=twins"], "layers has two layers named 'a': give each its own name"),
}


@pytest.mark.parametrize("case", CASES)
def test_edge_cases_have_one_clear_message(case: str, folder: Path, veles_run: Run) -> None:
    arguments, message = CASES[case]
    conf = [] if arguments[0].startswith("conf=") else ["conf=mnist_small"]
    done = veles_run(*conf, *arguments, code=2, cwd=folder)
    (line,) = done.stderr.splitlines()
    assert line.startswith("veles-run: ")
    assert message in line
    assert "Traceback" not in done.stdout


def test_a_run_without_a_validation_set_is_named_after_its_training_error(folder: Path, veles_run: Run) -> None:
    output = veles_run("snapshot=unvalidated", "decision.max_epochs=2", cwd=folder).stdout
    assert re.search(r"^Epoch 2: train \d+\.\d\d %", output, re.MULTILINE)
    assert re.search(r"mnist_small_train_\d+\.\d\d", final_snapshot(output))


def test_a_conf_file_of_a_subfolder_makes_snapshots_of_a_flat_name(folder: Path, veles_run: Run) -> None:
    (folder / "conf" / "group").mkdir()
    (folder / "conf" / "group" / "own.yaml").write_text(
        "# @package _global_\n"
        "loader: {train_size: 200, validation_size: 50}\n"
        "layers: {out: {type: softmax, output_sample_shape: 10}}\n"
        "decision: {max_epochs: 1}\n"
    )
    output = veles_run("conf=group/own", cwd=folder).stdout
    path = folder / final_snapshot(output)
    assert path.name.startswith("group_own_validation_")
    assert "The run is complete" in veles_run("conf=group/own", "snapshot=latest", cwd=folder).stdout


def test_a_dropout_of_zero_is_none(folder: Path, veles_run: Run) -> None:
    def line(*arguments: str) -> str:
        return epoch_lines(veles_run(*SMALL, *arguments, cwd=folder).stdout)[0]

    assert line("layers.dropout1.dropout_ratio=0") == line("~layers.dropout1")


def test_a_folder_with_an_equals_sign_and_a_comma_in_its_name(tmp_path: Path, veles_run: Run) -> None:
    output = veles_run(*SMALL, "snapshotter.directory=lr=0.1,seed=3 (copy)").stdout
    assert (tmp_path / "lr=0.1,seed=3 (copy)" / "mnist_small_current.5.pickle.gz").exists()
    command = re.search(r"^Extend: (veles-run .*)$", output, re.MULTILINE)[1]
    assert "Epoch 2:" in forked.typed(command, "plotters=false", "report=false", cwd=tmp_path)
