"""Files and folders that this user may not read: one line that names them, and never a data set without them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
from PIL import Image

READ = """
import sys
from runner.datasets import cifar10, idx, image_files, tables
from runner.errors import RunnerError
from runner.snapshots.stores.file import FileStore

calls = {
    "t.csv": lambda: tables.load("loader.data_file", "t.csv"),
    "t.csv.gz": lambda: tables.load("loader.data_file", "t.csv.gz"),
    "t.npy": lambda: tables.load("loader.data_file", "t.npy"),
    "t.npz": lambda: tables.load("loader.data_file", "t.npz"),
    "t.parquet": lambda: tables.load("loader.data_file", "t.parquet"),
    "images/cat": lambda: image_files.find("loader.data_dir", "images"),
    "deep/cat/more": lambda: image_files.find("loader.data_dir", "deep"),
    "1.png": lambda: image_files.load({"cat": ["1.png"]}, ["cat"]),
    "snapshots": lambda: FileStore("snapshots").keep_code("0" * 32, b"code"),
}
for name, call in calls.items():
    try:
        call()
    except RunnerError as error:
        print(name, "refused", error, sep="|")
"""
WITHOUT_ROOTS_RIGHTS = (
    *("setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search"),
)


def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    table = pandas.DataFrame({"a": [1.0, 2.0]})
    for ending in ("csv", "csv.gz"):
        table.to_csv(tmp_path / f"t.{ending}")
    table.to_parquet(tmp_path / "t.parquet")
    np.save(tmp_path / "t.npy", np.eye(2))
    np.savez(tmp_path / "t.npz", a=np.eye(2))
    for folder in ("images/cat", "images/dog", "deep/cat/more", "deep/dog", "snapshots", "."):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(tmp_path / folder / "1.png")
    forbidden = [
        *(f"t.{ending}" for ending in ("csv", "csv.gz", "npy", "npz", "parquet")),
        "images/cat",
        "deep/cat/more",
        "1.png",
    ]
    forbidden.append("snapshots")
    for name in forbidden:
        (tmp_path / name).chmod(0)
    command = [*(WITHOUT_ROOTS_RIGHTS if os.geteuid() == 0 else ()), sys.executable, "-c", READ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    told = [line.split("|") for line in done.stdout.splitlines()]
    assert [name for name, *_ in told] == forbidden
    for name, _, message in told:
        assert name in message
        assert "Permission denied" in message
    for name in forbidden:
        (tmp_path / name).chmod(0o700)
