"""`mode=predict`: new data in, predictions out, from a snapshot alone; what is wrong is named, and the rest done."""

import csv
import gzip
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from runner import restore
from runner.datasets.idx import parse_idx
from tests import forked
from tests.conftest import Run
from tests.data import numbers, write_idx, write_images

CONF = """
loader: {name: table, data_file: tr.csv, validation_ratio: 0.2, label: kind, categories: [color], minibatch_size: 20}
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 8, learning_rate: 0.05}
  out: {type: softmax, learning_rate: 0.05}
decision: {max_epochs: 2}
snapshotter: {directory: s}
"""
VALUES = """
loader: {name: table, data_file: tr.csv, validation_ratio: 0.2, columns: [a, b], targets: [b, a], minibatch_size: 20}
loss_function: mse
layers: {fc1: {type: all2all, output_sample_shape: 2, learning_rate: 0.01}}
decision: {max_epochs: 1}
snapshotter: {directory: s}
"""
PICTURES = """
loader: {name: images, data_dir: pics, validation_ratio: 0.25, minibatch_size: 5}
layers: {out: {type: softmax, learning_rate: 0.01}}
decision: {max_epochs: 1}
snapshotter: {directory: s}
"""
KINDS = ("cat", "dog\x1b[2J", "owl")


def write(path: Path, rows: int, columns: str = "a,b,color,kind") -> list[dict[str, str]]:
    """Writes a table with these columns; returns its rows."""
    drawn = random.Random(rows)
    found = []
    for index in range(rows):
        kind = index % 3
        values = {"a": str(drawn.gauss(kind, 1)), "b": str(drawn.gauss(-kind, 1)), "color": ("red", "blue")[index % 2]}
        found.append(values | {"kind": KINDS[kind], "more": "x"})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns.split(","), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(found)
    return found


def trained(run: Callable[..., object], folder: Path, conf: str, snapshots: str = "s") -> str:
    """Trains, takes the training data away, and returns the snapshot."""
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "c.yaml").write_text(conf)
    run("conf=c", "seed=1")
    (folder / "tr.csv").unlink(missing_ok=True)
    (found,) = (folder / snapshots).glob("c_current*")
    return str(found)


@pytest.fixture(scope="module")
def of_a_table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The snapshot of a network that was trained on a table, which is there no more."""
    folder = tmp_path_factory.mktemp("table")
    write(folder / "tr.csv", 90)
    return trained(lambda *arguments: forked.output([*arguments, "plotters=false", "report=false"], cwd=folder), folder, CONF)


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_a_table(of_a_table: str, veles_run: Run, tmp_path: Path) -> None:
    snapshot = of_a_table
    rows = write(tmp_path / "new.csv", 50, "color,b,more,a")
    done = veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.csv", "output=out.csv")
    assert "'more'" in done.stdout  # which is left out
    model = restore(snapshot).model()
    assert model.signature.feature_names == ("a", "b", "color=blue", "color=red")
    found = read(tmp_path / "out.csv")
    assert list(found[0]) == ["class", "probability", "p(cat)", "p(dog\\x1b[2J)", "p(owl)"]
    values = [[float(row["a"]), float(row["b"]), row["color"] == "blue", row["color"] == "red"] for row in rows]
    with torch.inference_mode():
        expected = torch.cat([model(part) for part in torch.tensor(values, dtype=torch.float64).split(20)])
    assert np.array_equal(np.array([[*row.values()][2:] for row in found], np.float32), expected.numpy())
    assert [row["class"] for row in found] == [list(found[0])[2:][number][2:-1] for number in expected.argmax(1)]
    assert all(float(row["probability"]) == max(map(float, [*row.values()][2:])) for row in found)
    # So is an array of the values that the network gets.
    np.savez(tmp_path / "new.npz", data=values)
    veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.npz", "output=array.csv", "-q")
    assert read(tmp_path / "array.csv") == found
    # The same in other formats, read by others.
    for name in ("out.parquet", "out.npz"):
        veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.csv", f"output={name}", "-q")
    table = parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert table["class"] == [row["class"] for row in found]
    assert table["p(owl)"] == expected[:, 2].tolist()
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["class"].tolist() == table["class"]
        assert np.array_equal(arrays["probabilities"], expected.numpy())
    assert [path.name for path in tmp_path.glob(".*part")] == []
    # What is there is replaced, and so is its own input never.
    before = (tmp_path / "new.csv").read_bytes()
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "new.csv")
    (tmp_path / "soft.csv").symlink_to("new.csv")
    for data, output in (("new.csv", "new.csv"), ("./new.csv", "new.csv"), ("new.csv", "hard.csv"), ("soft.csv", "new.csv")):
        typed = (f"data={data}", f"output={output}")
        assert "data" in veles_run(f"snapshot={snapshot}", "mode=predict", *typed, code=2).stderr
    assert (tmp_path / "new.csv").read_bytes() == before
    # Nor are the run's own data.
    (tmp_path / "tr.csv").symlink_to("new.csv")
    (tmp_path / "other.csv").write_bytes(before)
    done = veles_run(f"snapshot={snapshot}", "mode=predict", "data=other.csv", "output=tr.csv", code=2)
    assert "output='tr.csv' is the file that loader.data_file of the run names" in done.stderr
    assert (tmp_path / "new.csv").read_bytes() == before


def test_what_is_wrong_with_a_table(of_a_table: str, veles_run: Run, tmp_path: Path) -> None:
    snapshot = of_a_table
    write(tmp_path / "new.csv", 40, "a,b,color")
    lines = (tmp_path / "new.csv").read_text().splitlines()
    lines[10] = "1,zwei,red"
    lines[20] = "1,2,green"
    lines[25] = "1,2,red,4"
    lines[30] = "nan,2,blue"
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    done = veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.csv", "output=out.csv", code=1)
    for line, what in ((11, "zwei"), (21, "green"), (26, "4 values"), (31, "nan")):
        assert any(f"line {line}" in text and what in text for text in done.stdout.splitlines()), what
    assert "4 could not be read of 40" in done.stdout
    found = read(tmp_path / "out.csv")
    assert [number for number, row in enumerate(found) if row["class"] == row["p(cat)"] == ""] == [9, 19, 24, 29]
    assert len(found) == 40
    write(tmp_path / "less.csv", 5, "b,more,kind")
    (tmp_path / "not.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "cut.csv.gz").write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\0\x03")
    refused = {
        "data=less.csv": "'a', 'color'",
        "data=nope.csv": "data='nope.csv'",
        "data=cut.csv.gz": "cut.csv.gz",
        "data=not.csv": "not.csv",
    }
    for typed, expected in refused.items():
        done = veles_run(f"snapshot={snapshot}", "mode=predict", typed, "output=out2.csv", code=2)
        (line,) = done.stderr.splitlines()
        assert expected in line
    assert not (tmp_path / "out2.csv").exists()


def test_keys_that_make_no_sense_are_refused(of_a_table: str, veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(CONF)
    snapshot = f"snapshot={of_a_table}"
    write(tmp_path / "new.csv", 5)
    both = ["data=new.csv", "output=o.csv"]
    for typed, expected in (
        (["mode=predict", "data=new.csv"], "output="),
        (["mode=predict", "output=o.csv"], "data="),
        (["mode=predict", "data=new.csv", "output=no/o.csv"], "'no'"),
        (["mode=predict", *both, "loader.minibatch_size=3"], "loader.minibatch_size"),
        (["mode=predict", *both, "seed=3"], "seed"),
        (["data=new.csv"], "data="),
    ):
        done = veles_run(snapshot, *typed, code=2)
        (line,) = done.stderr.splitlines()
        assert expected in line, typed
    assert "snapshot" in veles_run("conf=c", "mode=predict", *both, code=2).stderr
    assert not (tmp_path / "o.csv").exists()
    veles_run(snapshot, "mode=predict", *both, "loader.header=true", "device=cpu", "threads=1")


def test_through_pipes(of_a_table: str, veles_run: Run, tmp_path: Path) -> None:
    snapshot = of_a_table
    write(tmp_path / "new.csv", 30)
    veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.csv", "output=out.csv")
    arguments = (f"snapshot={snapshot}", "mode=predict", "data=-", "output=-")
    os.mkfifo(tmp_path / "pipe")
    with forked.Started(arguments, cwd=tmp_path, stdin=tmp_path / "pipe") as started:
        (tmp_path / "pipe").write_bytes((tmp_path / "new.csv").read_bytes())
        done = started.end(60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "out.csv").read_text()
    assert "30 predictions" in done.stderr


def test_values(veles_run: Run, tmp_path: Path) -> None:
    write(tmp_path / "tr.csv", 60)
    snapshot = trained(veles_run, tmp_path, VALUES)
    write(tmp_path / "new.csv", 7, "b,a")
    veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.csv", "output=out.csv")
    veles_run(f"snapshot={snapshot}", "mode=predict", "data=new.csv", "output=out.npz")
    found = read(tmp_path / "out.csv")
    assert list(found[0]) == ["b", "a"]
    with np.load(tmp_path / "out.npz") as arrays:
        assert np.array_equal(arrays["values"], np.array([[*row.values()] for row in found], np.float32))


def test_images(veles_run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "pics")
    snapshot = trained(veles_run, tmp_path, PICTURES)
    new = tmp_path / "new"
    (new / "below").mkdir(parents=True)
    for name in ("a.png", "c.png", "below/z.png"):
        Image.fromarray(numbers().integers(256, size=(6, 5, 3)).astype(np.uint8)).save(new / name)
    Image.fromarray(numbers().integers(256, size=(5, 6, 3)).astype(np.uint8)).save(new / "d.png")
    (new / "b.png").write_bytes((new / "a.png").read_bytes()[:60])
    (new / "notes.txt").write_text("")
    done = veles_run(f"snapshot={snapshot}", "mode=predict", "data=new", "output=out.csv", code=1)
    assert any("b.png" in line for line in done.stdout.splitlines())
    assert any("d.png" in line and "5 x 6" in line and "6 x 5" in line for line in done.stdout.splitlines())
    found = read(tmp_path / "out.csv")
    assert [row["file"] for row in found] == ["a.png", "b.png", "below/z.png", "c.png", "d.png"]
    assert [row["class"] != "" for row in found] == [True, False, True, True, False]
    assert {row["class"] for row in found} <= {"cat", "dog", ""}
    veles_run(f"snapshot={snapshot}", "mode=predict", "data=new/a.png", "output=one.npz")
    with np.load(tmp_path / "one.npz") as arrays:
        assert arrays["file"].tolist() == ["a.png"]
        assert np.allclose(arrays["probabilities"].sum(), 1)
    assert "images" in veles_run(f"snapshot={snapshot}", "mode=predict", "data=conf", "output=o.csv", code=2).stderr


def test_a_network_of_one_array_takes_it_in_all_forms(veles_run: Run, tmp_path: Path) -> None:
    data = numbers().normal(size=(20, 2, 3))
    np.savez(tmp_path / "train.npz", data=data, labels=np.arange(20) % 2)
    keys = "name: table, data_file: train.npz, label: labels, validation_ratio: 0.25"
    snapshot = trained(veles_run, tmp_path, PICTURES.replace("name: images, data_dir: pics, validation_ratio: 0.25", keys))
    np.save(tmp_path / "a.npy", data)
    np.savez(tmp_path / "a.npz", data=data)
    np.savetxt(tmp_path / "a.csv", data.reshape(20, -1), "%.17g", ",")
    written = []
    for name in ("train.npz", "a.npy", "a.npz", "a.csv"):
        veles_run(f"snapshot={snapshot}", "mode=predict", f"data={name}", "output=out.csv")
        written.append((tmp_path / "out.csv").read_text())
    assert len(written[0].splitlines()) == 21
    assert written == [written[0]] * 4
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:50])
    done = veles_run(f"snapshot={snapshot}", "mode=predict", "data=a.npy", "output=out.csv", code=2)
    assert done.stderr.startswith("veles-run: data='a.npy' cannot be read: ")
    assert done.stderr.count("\n") == 1


def test_arrays(veles_run: Run, tmp_path: Path) -> None:
    """A network that was trained on IDX files takes them, arrays, images and tables of as many values."""
    (tmp_path / "idx").mkdir()
    write_idx(tmp_path / "idx")
    conf = PICTURES.replace("name: images, data_dir: pics, validation_ratio: 0.25", "name: mnist, data_dir: idx")
    snapshot = trained(veles_run, tmp_path, conf)
    (tmp_path / "idx").rename(tmp_path / "other")
    images = tmp_path / "other" / "t10k-images-idx3-ubyte.gz"
    veles_run(f"snapshot={snapshot}", "mode=predict", f"data={images}", "output=idx.csv")
    expected = (tmp_path / "idx.csv").read_text()
    data = parse_idx(gzip.decompress(images.read_bytes()))
    np.save(tmp_path / "a.npy", data)
    np.savez(tmp_path / "a.npz", x=data.reshape(len(data), -1), y=np.zeros(len(data)))
    np.savetxt(tmp_path / "a.csv", data.reshape(len(data), -1), "%d", ",")
    for name in ("other", "a.npy", "a.npz", "a.csv"):
        veles_run(f"snapshot={snapshot}", "mode=predict", f"data={name}", "output=out.csv")
        assert (tmp_path / "out.csv").read_text() == expected, name
    Image.fromarray(data[3]).save(tmp_path / "one.png")
    veles_run(f"snapshot={snapshot}", "mode=predict", "data=one.png", "output=one.csv")
    assert expected.splitlines()[4] in (tmp_path / "one.csv").read_text()
    np.save(tmp_path / "wide.npy", data.transpose(0, 2, 1))
    np.savez(tmp_path / "none.npz", first=data, second=data)
    for name in ("wide.npy", "none.npz"):
        assert name in veles_run(f"snapshot={snapshot}", "mode=predict", f"data={name}", "output=o.csv", code=2).stderr
