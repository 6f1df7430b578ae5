"""The first hour: `veles-run new`, `examples` and `import`, and what they write, which runs as it is."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import yaml
from PIL import Image
from pyarrow import parquet
from sklearn.datasets import load_digits, load_iris

from runner import restore
from runner.cli.starting import starters
from runner.errors import ConfigError
from tests.conftest import Run
from tests.system.test_resume import final_snapshot

ROOT = Path(__file__).parents[2]
VELES = ROOT / "tests" / "veles"

MODULE = """import torch


class Net(torch.nn.Module):
    pass


class Needs(torch.utils.data.Dataset):
    def __init__(self, folder):
        pass

    def __len__(self):
        return 1


class One(torch.utils.data.Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.ones(3) * index, torch.tensor([index % 2])


class Far(torch.utils.data.Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, index):
        return torch.tensor([index / 60, 1.0]), torch.tensor([1e6 + 1e5 * index, 3.0])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to begin in, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write_table(path: Path, names: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([names, *rows])
    return path


def iris(path: Path) -> Path:
    data = load_iris()
    names = [str(data.target_names[label]) for label in data.target]
    rows = [[number, *sample, name] for number, (sample, name) in enumerate(zip(data.data.tolist(), names, strict=True), 1)]
    return write_table(path, ["id", "${sepal}", "1", "a: b", "petal", "species"], rows)


def houses(path: Path) -> Path:
    random = np.random.default_rng(1)
    rows = []
    for number in range(600):
        area, fuel = float(random.uniform(40, 200)), str(random.choice(["gas", "oil"]))
        rows.append(
            [f"Street {number}", area, fuel, "" if number % 3 else 1, round(50_000 + 2_000 * area + 30_000 * (fuel == "gas"))]
        )
    return write_table(path, ["street", "area", "fuel", "garden", "price"], rows)


def digits(folder: Path, *, size: Callable[[int], tuple[int, int]], color: str = "L") -> Path:
    data = load_digits(n_class=3)
    for number, (image, label) in enumerate(zip(data.images[:240], data.target, strict=False)):
        path = folder / f"{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype("uint8")).convert(color).resize(size(number)).save(path)
    return folder


def last_column(path: Path) -> list[str]:
    with path.open() as file:
        return [row[-1] for row in csv.reader(file)][1:]


def conf(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path("conf", f"{name}.yaml").read_text())


def typed_next(text: str) -> list[list[str]]:
    """Returns the commands that are printed to be typed next."""
    return [line.split()[1:] for line in text.splitlines() if line.startswith("  veles-run ")]


def test_a_conf_for_a_table_trains_and_predicts_by_what_is_printed(
    folder: Path, veles_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    iris(folder / "iris.csv")
    starters.run(["new", "flowers", "--from", "iris.csv"])
    told = capsys.readouterr().out
    train, predict = typed_next(told)
    veles_run(f"conf={train[0]}", "decision.max_epochs=25", "seed=1")  # of some seeds, an early epoch is as good in validation
    veles_run(*predict)
    with (folder / "predictions.csv").open() as file:
        answers = [row["class"] for row in csv.DictReader(file)]
    truth = last_column(folder / "iris.csv")
    assert len(answers) == 150
    assert sum(map(str.__eq__, answers, truth)) > 135
    loader = conf("flowers")["loader"]
    assert loader["label"] == "species"
    assert "id" not in loader["columns"]
    assert "'id'" in told


def test_a_conf_for_numbers_predicts_them_in_their_own_scale(folder: Path, veles_run: Run) -> None:
    houses(folder / "houses.csv")
    starters.run(["new", "houses", "--from", "houses.csv"])
    loader = conf("houses")["loader"]
    assert (loader["targets"], loader["columns"], loader["categories"]) == (["price"], ["area", "fuel"], ["fuel"])
    done = veles_run("conf=houses", "decision.max_epochs=15")
    prices = np.array(last_column(folder / "houses.csv"), float)
    assert float(re.search(r"Best validation RMSE: (\S+)", done.stdout)[1]) < 0.2 * prices.std()


def test_a_conf_for_images_of_many_sizes_trains(folder: Path, veles_run: Run) -> None:
    digits(folder / "digits" / "train", size=lambda number: (16 + number % 3, 16), color="RGB")
    shutil.copytree(folder / "digits" / "train", folder / "digits" / "val")
    starters.run(["new", "digs", "--from", "digits"])
    loader = conf("digs")["loader"]
    assert (loader["data_dir"], loader["validation_dir"]) == ("digits/train", "digits/val")
    assert loader["image_size"] == [16, 16]
    assert "validation_ratio" not in loader
    assert "validation 0.00 %" in veles_run("conf=digs", "decision.max_epochs=6").stdout


def test_a_column_that_counts_is_learned_from_if_there_is_no_other(folder: Path) -> None:
    write_table(folder / "line.csv", ["x", "y"], [[x, 3 * x + 0.5] for x in range(20)])
    starters.run(["new", "line", "--from", "line.csv"])
    assert "columns" not in conf("line")["loader"]


def test_a_column_that_cannot_be_used_is_left_out_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"x": np.arange(20.0) % 7, "when": np.arange(20).astype("M8[D]"), "y": np.arange(20) % 2}
    columns["z"] = pyarrow.array([None, *range(19)])
    parquet.write_table(pyarrow.table(columns), folder / "odd.parquet")
    starters.run(["new", "odd", "--from", "odd.parquet", "--label", "y"])
    assert conf("odd")["loader"]["columns"] == ["x"]
    told = capsys.readouterr().out
    assert "'z' (has 1 empty cells" in told
    assert "'when' (is of type" in told


def test_labels_that_are_texts_of_numbers_are_numbers(folder: Path) -> None:
    columns = {"x": np.arange(20.0) % 7, "y": [str(1 + 2 * (number % 2)) for number in range(20)]}
    parquet.write_table(pyarrow.table(columns), folder / "odd.parquet")
    starters.run(["new", "odd", "--from", "odd.parquet"])
    assert conf("odd")["layers"]["out"]["output_sample_shape"] == 4  # from 0 to 3, as a loader has them


def test_images_without_colors_are_read_as_they_are(folder: Path) -> None:
    digits(folder / "gray", size=lambda number: (12, 20))
    starters.run(["new", "gray", "--from", "gray"])
    assert conf("gray")["loader"]["grayscale"] is True
    assert "image_size" not in conf("gray")["loader"]


def test_a_dataset_that_there_is_not_is_written_and_trained_on(folder: Path, veles_run: Run) -> None:
    starters.run(["new", "birds", "--from", "flock:Birds"])
    assert "class Birds(" in (folder / "flock.py").read_text()
    veles_run("conf=birds", "decision.max_epochs=2")


def test_a_dataset_with_targets_begins_at_their_mean(folder: Path) -> None:
    (folder / "kinds.py").write_text(MODULE)
    starters.run(["new", "far", "--from", "kinds:Far"])
    layers = conf("far")["layers"]
    assert layers["out"]["output_sample_shape"] == 2
    assert layers["out"]["bias_stddev"] * layers["unit"]["factor"] == pytest.approx((1e6 + 1e5 * 29.5 + 3) / 2, rel=0.01)


def test_a_class_within_an_array_is_told(folder: Path, veles_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "kinds.py").write_text(MODULE)
    starters.run(["new", "one", "--from", "kinds:One"])
    assert "(1,)" in capsys.readouterr().out
    text = (folder / "conf" / "one.yaml").read_text().replace("loss_function: mse", "loss_function: softmax")
    (folder / "conf" / "other.yaml").write_text(text.replace("type: all2all,", "type: softmax,"))
    assert "(1,)" in veles_run("conf=other", code=2).stderr


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["new"], ["NAME", "--from", "conf=new"]),
        (["new", "x"], ["--from"]),
        (["new", "x", "y", "--from", "iris.csv"], ["y"]),
        (["new", "x", "--from", "iris.csv", "--lable", "y"], ["--lable"]),
        (["new", "a-b", "--from", "iris.csv"], ["'a-b'"]),
        (["new", "../x", "--from", "iris.csv"], ["'../x'"]),
        (["new", "mine", "--from", "iris.csv"], ["conf/mine.yaml"]),
        (["new", "short", "--from", "iris.csv"], ["conf/short.yml"]),
        (["new", "mnist", "--from", "iris.csv"], ["mnist.yaml"]),
        (["new", "loader", "--from", "iris.csv"], ["'loader'"]),
        (["new", "optimizer", "--from", "iris.csv"], ["'optimizer'"]),
        (["new", "x", "--from", "nothing"], ["'nothing'", "MODULE:CLASS"]),
        (["new", "x", "--from", "iris.csv", "--label", "colour"], ["'colour'", "'species'"]),
        (["new", "x", "--from", "iris.csv", "--label", "a: b", "--from", "kinds:Far"], ["--label"]),
        (["new", "x", "--from", "empty.csv"], ["empty.csv"]),
        (["new", "x", "--from", "one.csv"], ["1 column"]),
        (["new", "x", "--from", "same.csv"], ["'b'", "always"]),
        (["new", "x", "--from", "names.csv"], ["'name'", "--label"]),
        (["new", "x", "--from", "gaps.csv"], ["line 3", "'b'", "empty"]),
        (["new", "x", "--from", "few.csv"], ["2 samples"]),
        (["new", "x", "--from", "picture.png"], ["picture.png"]),
        (["new", "x", "--from", "flat"], ["'flat'"]),
        (["new", "x", "--from", "single"], ["'single'", "one class"]),
        (["new", "x", "--from", "torn"], ["torn/b/bad.png"]),
        (["new", "x", "--from", "kinds:Net"], ["kinds:Net", "Dataset"]),
        (["new", "x", "--from", "kinds:Needs"], ["'folder'"]),
        (["new", "x", "--from", "kinds:Nothing"], ["'Nothing'"]),
        (["new", "x", "--from", "kind:Far"], ["kinds:Far"]),
        (["new", "x", "--from", "torch.nothing:Far"], ["torch.nothing"]),
        (["examples", "a", "b"], ["b"]),
        (["examples", "taken"], ["taken/gan.py"]),
        (["examples", "iris.csv"], ["iris.csv"]),
        (["import"], ["FILE", "conf=import"]),
        (["import", "nothing.py"], ["nothing.py"]),
        (["import", "."], ["."]),
        (["import", "old.py"], ["old.py:2"]),
        (["import", "nul.py"], ["nul.py"]),
        (["import", "deep.py"], ["deep.py", "deeply"]),
        (["import", "swelling.py"], ["values"]),
        (["import", "plain.py"], ["plain.py", "root"]),
        (["import", "built.py"], ["root.wine", "'loader_name'"]),
        (["import", "several.py"], ["a, b", "--root"]),
        (["import", "several.py", "--root", "c"], ["'c'"]),
        (["import", "several.py", "--to", "conf/a.txt"], ["--to", ".yaml"]),
        (["import", "mine_config.py"], ["conf/mine.yaml"]),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(words: list[str], parts: list[str], folder: Path) -> None:
    iris(folder / "iris.csv")
    files = {
        "kinds.py": MODULE,
        "conf/mine.yaml": "seed: 1\n",
        "conf/short.yml": "seed: 1\n",
        "taken/gan.py": "mine = 1\n",
        "empty.csv": "",
        "one.csv": "a\n1\n2\n",
        "same.csv": "a,b\n1,2\n3,2\n7,2\n",
        "names.csv": "a,name\n5,x\n2,y\n3,z\n",
        "gaps.csv": "a,b\n5,x\n2,\n3,x\n7,y\n",
        "few.csv": "a,b\n5,0\n2,1\n",
        "picture.png": "no picture",
        "flat/readme.txt": "",
        "single/a/1.png": "",
        "torn/a/1.png": "",
        "torn/b/bad.png": "no picture",
        "old.py": "from veles.config import root\nprint 'Python 2'\n",
        "nul.py": "\0",
        "deep.py": f"root.a.b = {'-' * 9000}1\n",
        "swelling.py": "x = [1]\n" + "x = [x, x]\n" * 40,
        "plain.py": "x = 1\n",
        "built.py": "root.wine.update({'layers': [8, 3]})\n",
        "several.py": "root.a.b = 1\nroot.b.c = 1\n",
        "mine_config.py": "root.mine.loader_name = 'mnist_loader'\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("single/a/1.png", "torn/a/1.png"):
        Image.new("L", (8, 8)).save(folder / name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as raised:
        starters.run(words)
    assert len(str(raised.value).splitlines()) == 1
    assert all(part in str(raised.value) for part in parts)
    assert {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    } == before


def test_a_mistake_is_one_line_of_the_command(folder: Path, veles_run: Run) -> None:
    done = veles_run("new", "x", "--from", "nothing", code=2)
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert done.stderr.startswith("veles-run: ")
    assert "MODULE:CLASS" in veles_run("new", "--help").stdout


def test_a_conf_of_the_name_of_a_command_is_run_by_its_key(folder: Path, veles_run: Run) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "new.yaml").write_text(
        "defaults: [mnist_small, _self_]\nloader: {train_size: 120, validation_size: 60}\n"
    )
    assert "Training new" in veles_run("conf=new", "decision.max_epochs=1").stdout


def test_the_examples_are_copied_and_one_runs_from_there(folder: Path, veles_run: Run) -> None:
    told = veles_run("examples", "tried").stdout
    source = ROOT / "examples"
    copied = {path.relative_to("tried") for path in Path("tried").rglob("*") if path.is_file()}
    assert copied == {path.relative_to(source) for ending in ("*.py", "*.ipynb", "conf/*.yaml") for path in source.glob(ending)}
    assert all((Path("tried") / path).read_bytes() == (source / path).read_bytes() for path in copied)
    for path in source.glob("conf/*.yaml"):
        assert f"veles-run {path.stem} " in told
    assert "python maxout.py" not in told  # a module that a conf names
    veles_run("conf=spirals", "decision.max_epochs=2", cwd=folder / "tried")
    assert "already" in veles_run("examples", "tried").stdout


def as_python(content: dict[str, Any]) -> str:
    """Returns a dictionary as a configuration of VELES has it."""
    sections = {"common": content.pop("common")} if "common" in content else {}
    lines = [f"root.{name}.update({value!r})" for name, value in {**sections, "sample": content}.items()]
    return "\n".join(["import os", "from veles.config import root", *lines, ""])


@pytest.mark.parametrize("sample", sorted(path.stem for path in VELES.glob("*.yaml")))
def test_a_dictionary_of_veles_comes_through_as_it_is(sample: str, folder: Path) -> None:
    content = yaml.safe_load((VELES / f"{sample}.yaml").read_text())
    Path("sample_config.py").write_text(as_python(dict(content)))
    # What of it has no counterpart is told, and stays.
    assert starters.run(["import", "sample_config.py"]) == (sample == "yale_faces")
    assert conf("sample") == content


def test_an_imported_configuration_trains_to_the_same_weights(folder: Path, veles_run: Run) -> None:
    content = yaml.safe_load((VELES / "wine_relu.yaml").read_text())
    (folder / "conf").mkdir()
    shutil.copy(VELES / "wine_relu.yaml", "conf/given.yaml")
    Path("turned_config.py").write_text(as_python(content))
    starters.run(["import", "turned_config.py"])
    weights = []
    for name in ("given", "turned"):
        done = veles_run(f"conf={name}", "seed=5", "decision.max_epochs=2")
        workflow = restore(folder / final_snapshot(done.stdout)).workflow
        weights.append([unit.weights for unit in workflow.forwards if hasattr(unit, "weights")])
    assert len(weights[0]) > 1
    assert all(bool((one == other).all()) for one, other in zip(*weights, strict=True))


SOURCE = """#!/usr/bin/env python
'''A configuration.'''
import os
import numpy
from veles.config import root
from veles.genetics import Range

width, depth = 10, 2
size = 5 * 12
folder = os.path.join(root.common.dirs.datasets, "MNIST")
before = size
size = 70
root.common.update({"precision_type": "double"})
root.mnist.layers = [1]
root.mnist.loader.minibatch_size = 1
root.mnist.update({
    "loader_name": "mnist_loader",
    "loader": {"minibatch_size": Range(before, 1, 1000), "data_path": folder, "prng": os.getpid()},
    "decision": {"max_epochs": numpy.iinfo(numpy.int16).max, "fail_iterations": -(-3)},
    "image_saver": {"out_dirs": [os.path.join(root.common.dirs.cache, "tmp")]},
    "snapshotter": dict(prefix="a" + "b", interval=2 ** 3),
    "layers": [
        {"type": "softmax", "->": {"output_sample_shape": (10,)}, "<-": {"learning_rate": 3e-2 / 2, "weights_decay": width}}]})
for name in ("a",):
    root.mnist.extra = name
"""


def test_what_only_python_could_tell_is_named_with_its_line_and_stops_the_run(
    folder: Path, veles_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mnist_config.py").write_text(SOURCE + "open('executed', 'w')\n")
    assert starters.run(["import", "mnist_config.py", "--to", "conf/first.yaml"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in told] == [
        f"mnist_config.py:{line}" for line in (8, 18, 23, 24, 26)
    ]
    assert not Path("executed").exists()
    made = conf("first")
    assert made["loader"] == {"minibatch_size": 60, "data_path": "???"}
    assert made["layers"][0]["<-"] == {"learning_rate": 0.015, "weights_decay": "???"}
    assert "???" in veles_run("conf=first", code=2).stderr
    starters.run(["import", "mnist_config.py", "--to", "conf/second.yaml", "--datasets", "data"])
    made = conf("second")
    assert made["loader"]["data_path"] == "data/MNIST"
    assert made["decision"] == {"max_epochs": 32767, "fail_iterations": 3}
    assert made["snapshotter"] == {"prefix": "ab", "interval": 8}
    assert made["common"] == {"precision_type": "double"}
    assert "image_saver" not in made


@pytest.mark.parametrize(
    ("statement", "unknown"),
    [
        ("root.w.decision.max_epochs += 5", "decision.max_epochs"),
        ("root.w.layers[0]['<-']['learning_rate'] = 0.9", "layers.0.<-.learning_rate"),
        ("root.w.layers[-1] = {'type': 'softmax'}", "layers"),
        ("root.w.layers.append({'type': 'softmax'})", "layers"),
        ("if big:\n    root.w.decision.max_epochs = 8", "decision.max_epochs"),
        ("for layer in root.w.layers:\n    layer['<-']['learning_rate'] = 0.9", "layers"),
        ("d = root.w.decision\nd.max_epochs = 9", "decision.max_epochs"),
        ("d = root.w.layers\ne = d[0]\ne['type'] = 'softmax'", "layers.0.type"),
        ("def tuned():\n    root.w.decision.max_epochs = 9\ntuned()", "decision.max_epochs"),
        ("setattr(root.w.decision, 'max_epochs', 9)", "decision"),
        ("root.w.decision.max_epochs, n = 9, 1", "decision.max_epochs"),
        ("try:\n    root.w.decision.max_epochs = 9\nexcept KeyError:\n    pass", "decision.max_epochs"),
        ("del root.w.decision.max_epochs", "decision.max_epochs"),
        ("tuned(root.w)", "loader_name"),
        ("tuned()", "loader_name"),
        ("with tuned() as t:\n    root.w.loader.minibatch_size = 5", "loader.minibatch_size"),
        ("root.w.decision |= {'max_epochs': 9}", "decision"),
        ("[layer.update(x) for layer in root.w.layers]", "layers"),
        ("while root.w.decision.pop('x'):\n    pass", "decision"),
    ],
)
def test_what_a_statement_may_change_stops_the_run(
    statement: str, unknown: str, folder: Path, veles_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = "[{'type': 'all2all_tanh', '<-': {'learning_rate': 0.3}}, {'type': 'softmax'}]"
    plain = "'loader_name': 'wine_loader', 'loader': {'minibatch_size': 10}, 'decision': {'max_epochs': 3}"
    Path("w_config.py").write_text(f"root.w.update({{{plain}, 'layers': {layers}}})\n{statement}\n")
    assert starters.run(["import", "w_config.py"]) == 1
    assert "w_config.py:" in capsys.readouterr().err
    found = conf("w")
    for key in unknown.split("."):
        found = found[int(key) if isinstance(found, list) else key]
    assert found == "???"
    assert "???" in veles_run("w", code=2).stderr


def test_a_key_without_a_counterpart_is_told_when_it_is_imported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a_config.py").write_text("root.a.update({'loader_name': 'mnist_loader', 'loader': {'mirror': True}, 'layers': []})\n")
    assert starters.run(["import", "a_config.py"]) == 1
    assert "loader.mirror" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("new", "iris", "--from", ""),
        ("new", "", "--from", "x.csv"),
        ("new", "a", "--from", "x.csv", "--label", ""),
        ("examples", ""),
        ("import", ""),
        ("import", "x_config.py", "--to", ""),
        ("import", "x_config.py", "--datasets", ""),
    ],
)
def test_an_unset_variable_of_the_shell_is_not_the_current_folder(words: tuple[str, ...], folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"{words[0]}: an argument is empty"):
        starters.run(words)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", starters.COMMANDS)
def test_what_is_printed_to_be_typed_is_no_command(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=f"new {name}: '{name}' is a command of veles-run"):
        starters.run(["new", name, "--from", "x.csv"])
    text = 'root.x.update({"layers": [{"type": "softmax", "output_sample_shape": 10}], "loader_name": "mnist_loader"})'
    (folder / f"{name}_config.py").write_text(text)
    assert starters.run(["import", f"{name}_config.py"]) == 0
    assert f"veles-run conf={name} --cfg job" in capsys.readouterr().out
