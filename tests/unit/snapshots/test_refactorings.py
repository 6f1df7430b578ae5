"""What a user does to classes of their own in ten years: each change needs at most three lines, and old snapshots go on."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner import Launcher, restore
from runner.errors import SnapshotError

HEAD = "from runner import Bool, Pickleable, Repeater, SnapshotterToFile, Unit, Workflow\n"
TALLY = """
class Tally(Pickleable):
    def __init__(self):
        super().__init__()
        self.sums = []
"""
SCALE = """
class Scale(Unit):
    def __init__(self, workflow, factor, limit):
        super().__init__(workflow, "scale")
        self.factor, self.unit, self.limit = factor, "m", limit
        self.n, self.done, self.tally = 0, Bool(False), Tally()

    def run(self):
        self.n += 1
        self.tally.sums.append(self.value())
        self.done <<= self.n >= self.limit

    def value(self):
        return self.factor * self.n
"""
FLOW = """
class Flow(Workflow):
    def __init__(self):
        super().__init__(name="flow")
        repeater = Repeater(self).link_from(self.start_point)
        scale = Scale(self, 3, 4).link_from(repeater)
        snapshotter = SnapshotterToFile(self, directory="s", interval=1, compression="none").link_from(scale)
        snapshotter.link_attrs(scale, ("suffix", "n"), ("complete", "done"))
        repeater.link_from(snapshotter)
        repeater.gate_block = scale.done
        self.end_point.link_from(snapshotter)
        self.end_point.gate_block = ~scale.done
"""
PARTS = {"Tally": TALLY, "Scale": SCALE, "Flow": FLOW}
SUMS = [3, 6, 9, 12]
"""What a run has added up at its end."""


@dataclass(frozen=True)
class Change:
    """A change of the classes.

    Attributes:
        edits: texts of the sources and what takes their places.
        places: the module of each class, if it has moved.
        remedy: lines that are added to the class `Scale`, or to that which has its place.
        renamed: lines of `restore.renamed`.
        sums: the expression that has the sums at the end.
    """

    edits: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    remedy: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    sums: str = "workflow['scale'].tally.sums"


def migrating(*lines: str) -> tuple[str, ...]:
    """The lines of a class that bring its states up to date."""
    return ("version = 2", "def migrate(self, state, version): " + "; ".join(lines))


SETTINGS = 'self.factor, self.unit, self.limit = factor, "m", limit'
"""What the constructor of `Scale` sets."""

CHANGES = {
    "nothing": Change(),
    "a unit's class is renamed": Change(
        {"class Scale(": "class Scaler(", "Scale(self": "Scaler(self"}, renamed={"flow.Scale": "flow.Scaler"}
    ),
    "the workflow's class is renamed": Change({"class Flow(": "class Main("}, renamed={"flow.Flow": "flow.Main"}),
    "a helper's class is renamed": Change({"Tally": "Sums"}, renamed={"flow.Tally": "flow.Sums"}),
    "the module is renamed": Change(
        places=dict.fromkeys(PARTS, "process"), renamed={f"flow.{name}": f"process.{name}" for name in PARTS}
    ),
    "the module moves into a package": Change(
        places=dict.fromkeys(PARTS, "plant.flow"), renamed={f"flow.{name}": f"plant.flow.{name}" for name in PARTS}
    ),
    "a class moves to another module": Change(places={"Tally": "tallies"}, renamed={"flow.Tally": "tallies.Tally"}),
    "the module is split": Change(
        places={"Tally": "tallies", "Scale": "scales"},
        renamed={"flow.Tally": "tallies.Tally", "flow.Scale": "scales.Scale"},
    ),
    "a class is moved and renamed": Change({"Tally": "Sums"}, {"Tally": "tallies"}, renamed={"flow.Tally": "tallies.Sums"}),
    "an attribute is renamed": Change({"factor": "weight"}, remedy=migrating("state['weight'] = state.pop('factor')")),
    "a new attribute with a default": Change(
        {"self.factor * self.n": "self.factor * self.n + self.bias"}, remedy=("bias = 0",)
    ),
    "a new attribute that depends on others": Change(
        {"self.factor * self.n": "self.step * self.n", "self.n, ": "self.step, self.n, ", " = 0, Bool": " = factor, 0, Bool"},
        remedy=migrating("state['step'] = state['factor']"),
    ),
    "an attribute is no longer needed": Change({SETTINGS: "self.factor, self.limit = factor, limit"}),
    "an attribute is taken out of old states": Change(remedy=migrating("state.pop('unit')")),
    "an attribute has another type": Change(
        {"= factor, ": "= str(factor), ", "self.factor * self.n": "int(self.factor) * self.n"},
        remedy=migrating("state['factor'] = str(state['factor'])"),
    ),
    "two attributes become one": Change(
        {SETTINGS: 'self.size, self.limit = (factor, "m"), limit', "self.factor *": "self.size[0] *"},
        remedy=migrating("state['size'] = state.pop('factor'), state.pop('unit')"),
    ),
    "one attribute becomes two": Change(
        {
            "self.factor, ": "self.tens, self.ones, ",
            "= factor, ": "= factor // 10, factor % 10, ",
            "self.factor *": "(10 * self.tens + self.ones) *",
        },
        remedy=migrating("state['tens'], state['ones'] = divmod(state.pop('factor'), 10)"),
    ),
    "an attribute becomes a property": Change(
        {"self.factor, ": "self._factor, ", "    def run": "    factor = property(lambda self: self._factor)\n\n    def run"},
        remedy=migrating("state['_factor'] = state.pop('factor')"),
    ),
    "an attribute is made anew after a restore": Change(
        {SETTINGS: "self.factor, self.limit = factor, limit"},
        remedy=(*migrating("del state['unit']"), "def init_unpickled(self): super().init_unpickled(); self.unit_ = 'm'"),
    ),
    "a method is renamed": Change({"value()": "scaled()", "def value": "def scaled"}),
    "a base class comes in": Change({"class Scale(Unit)": "class Base(Unit):\n    pass\n\n\nclass Scale(Base)"}),
    "the constructor takes more": Change({"factor, limit)": "factor, limit, *, unit='m')"}),
    "the unit has another name in new runs": Change({'"scale"': '"scaling"'}),
}


def write(folder: Path, change: Change) -> str:
    """Writes the modules of the classes; returns the name of that with the workflow."""
    modules: dict[str, str] = {}
    for name, source in PARTS.items():
        for old, new in change.edits.items():
            source = source.replace(old, new)
        if name == "Scale" and change.remedy:
            head, _, body = source.partition("(Unit):\n")
            source = f"{head}(Unit):\n" + "".join(f"    {line}\n" for line in change.remedy) + "\n" + body
        module = change.places.get(name, "flow")
        others = "".join(f"from {before} import *\n" for before in modules if before != module)
        modules[module] = modules.get(module, HEAD + others) + source
    for module, source in modules.items():
        path = folder / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return change.places.get("Flow", "flow")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot from the middle of a run, by the classes as they were."""
    folder = tmp_path_factory.mktemp("before")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        write(folder, Change())
        Launcher(device="cpu").run(importlib.import_module("flow").Flow())
        forget(folder)
    return folder / "s" / "flow_2.5.pickle"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules are imported, and forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """Has the modules in a folder imported anew."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()


def test_there_are_twenty_and_none_takes_more_than_three_lines() -> None:
    assert len(CHANGES) > 20
    assert max(len(change.remedy) + len(change.renamed) for change in CHANGES.values()) == 3


@pytest.mark.parametrize("name", CHANGES)
def test_a_snapshot_goes_on_after(name: str, folder: Path, snapshot: Path) -> None:
    change = CHANGES[name]
    modules = {write(folder, change), *change.places.values()}
    importlib.invalidate_caches()
    workflow = restore(snapshot, trusted=sorted(modules), renamed=change.renamed).workflow
    Launcher(device="cpu").run(workflow)
    assert eval(change.sums) == SUMS
    if change.renamed:
        with pytest.raises(SnapshotError):
            restore(snapshot, trusted=sorted({*modules, "flow"}))
