"""Text keys take the text that is typed, in every mode; a key that cannot be is one line in our words."""

import os
import re
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of
from tests.conftest import Run

SMALL = ("conf=mnist_small", "loader.train_size=100", "loader.validation_size=60", "decision.max_epochs=1", "seed=1")
TEXTS = ("2024_01_02", "1e3", "true", "0x10", "1.0", "12e4", "+5", "007", "NaN", "1.10")


def prefixes(folder: Path) -> set[str]:
    return {path.name.partition("_validation")[0] for path in folder.iterdir() if "_validation" in path.name}


def test_in_a_single_run_and_on_resume(veles_run: Run, tmp_path: Path) -> None:
    veles_run(*SMALL, "snapshotter.directory=2024_01_02", "snapshotter.prefix=1e3", "workflow.name=true")
    (path,) = (tmp_path / "2024_01_02").glob("1e3_validation*")
    header = header_of(path)
    assert (header.workflow, header.config["snapshotter"]["directory"]) == ("true", "2024_01_02")
    veles_run(f"snapshot={path}", "snapshotter.directory=3_0", "snapshotter.prefix=12e4", "decision.max_epochs=2")
    assert prefixes(tmp_path / "3_0") == {"12e4"}
    # A file whose name looks like a number, and `null`, which is none unless it is quoted.
    (tmp_path / "1_0").write_bytes(path.read_bytes())
    veles_run("snapshot=1_0", "snapshotter.directory=7e1", "snapshotter.prefix=null", "decision.max_epochs=2")
    veles_run("-w", "1_0", "snapshotter.directory=7e1", "snapshotter.prefix='null'", "decision.max_epochs=2")
    assert prefixes(tmp_path / "7e1") == {"true", "null"}


def test_in_a_sweep(veles_run: Run, tmp_path: Path) -> None:
    typed = f"snapshotter.prefix={','.join(TEXTS[:4])},choice"
    veles_run("-m", *SMALL, "snapshotter.directory=8_0", typed)
    assert prefixes(tmp_path / "8_0") == {*TEXTS[:4], "choice"}
    veles_run("-m", *SMALL, "snapshotter.directory=9_0", f"snapshotter.prefix=choice({','.join(TEXTS[4:])})")
    assert prefixes(tmp_path / "9_0") == set(TEXTS[4:])


def test_in_a_conf_file(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "rows.csv").write_text("1e3,2_0,x\n" + "".join(f"{n},{n * n},{'ab'[n % 2]}\n" for n in range(20)))
    (tmp_path / "conf" / "2024_01.yaml").write_text(
        "# @package _global_\n"
        "loader: {name: table, data_file: rows.csv, label: x, columns: [2_0, 1e3, 0]}\n"
        "layers: {out: {type: softmax, output_sample_shape: 2}}\n"
        "decision: {max_epochs: 1}\n"
        "snapshotter: {directory: 2024_01_02, prefix: 1e3, key: null, compression_level: 1}\n"
    )
    refused = veles_run("conf=2024_01", code=2).stderr  # the number 0 is the column 1e3 again
    assert "loader.columns has '1e3' twice" in refused
    veles_run("conf=2024_01", "loader.columns=[2_0,0]")
    (path,) = (tmp_path / "2024_01_02").glob("1e3_train*")
    assert header_of(path).workflow == "2024_01"
    assert (
        header_of(path).config["snapshotter"] | {"key": None, "compression_level": 1} == header_of(path).config["snapshotter"]
    )


WRONG_KEYS = {
    "loader.categories.a=[x]": "loader.categories is a list",
    "loader.columns.0=a": "loader.columns is a list",
    "+loader.image_size.a=3": "loader.image_size is a list",
    "restore.trusted.a=3": "restore.trusted is a list",
    "++lr_adjuster.lrs_with_lengths.0=3": "lr_adjuster.lrs_with_lengths is a list",
    "snapshot.foo=1": "snapshot is a single value",
    "seed.a=3": "seed is a single value",
    "mode.x=3": "mode is a single value",
    "loader.label.x=3": "loader.label is a single value",
    "snapshotter.odbc.x=3": "snapshotter.odbc is a single value",
    "hydra.run.dir.x=3": "hydra.run.dir is a single value",
    "snapshotter.on_signal.USR1.x=3": "snapshotter.on_signal.USR1 is a single value",
    "conf.x=3": "conf is a single value",
    "snapshotter.key=": "snapshotter.key= is empty",
    "snapshot=pipe": "'pipe' is a pipe that nobody writes to",
    "-w=/dev/null": "'/dev/null' is a device",
}


@pytest.mark.parametrize("typed", WRONG_KEYS)
def test_one_line(typed: str, veles_run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = veles_run(*([] if typed.startswith("conf=") else ["conf=mnist_small"]), typed, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("veles-run: ")
    assert WRONG_KEYS[typed] in line


def test_the_arguments_of_a_dataset_need_no_plus(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "sets.py").write_text(
        "class Rows:\n"
        "    def __init__(self, rows): self.rows = rows\n"
        "    def __len__(self): return self.rows\n"
        "    def __getitem__(self, index): return [float(index)], index % 2\n"
        "import torch\n"
        "class Points(Rows, torch.utils.data.Dataset): pass\n"
    )
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "d.yaml").write_text("# @package _global_\nloader: {name: dataset}\nlayers: {out: {type: softmax}}\n")
    typed = ["loader.train._target_=sets.Points", "loader.train.rows=40", "decision.max_epochs=1"]
    assert re.search("^Epoch 1: train", veles_run("conf=d", *typed, "loader.validation_size=0").stdout, re.MULTILINE)
