"""The names that snapshots have: each leads to its class, and no class of ours that has a state is without one."""

import importlib
import pickle
import pkgutil
from pathlib import Path

import pytest

import runner
from runner import pickled
from runner.graph import Pickleable, Unit, Workflow
from runner.snapshots.capture.pickler import dump
from tests.networks import network
from tests.units import Holder

NAMES = Path(__file__).parent / "names_in_snapshots.txt"
"""Every name that a snapshot may have had so far; lines are added to it, and never taken away."""


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_each_name_leads_to_its_class() -> None:
    for name in pickled.CLASSES:
        assert pickled.name_of(pickled.class_(name)) == name
    with pytest.raises(AttributeError, match="'Gone'"):
        pickled.class_("Gone")


def test_no_name_is_ever_given_up() -> None:
    assert set(NAMES.read_text().split()) == set(pickled.CLASSES)


def test_every_class_with_a_state_has_a_name() -> None:
    for module in pkgutil.walk_packages(runner.__path__, "runner."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    own = {cls for cls in subclasses(Pickleable) if cls.__module__.startswith("runner.")}
    assert {cls.__qualname__ for cls in own if pickled.name_of(cls) is None} == set()


def test_no_file_of_ours_is_named_in_a_pickle(tmp_path: Path) -> None:
    """Whatever of veles-run is in a network's pickle has a stable name."""

    class Sink(bytearray):
        write = bytearray.extend

    sink = Sink()
    dump(network(tmp_path, snapshotter_config={}), sink)
    named = {value for value in _texts(bytes(sink)) if value.startswith("runner.")}
    assert named == {"runner.pickled"}


def _texts(data: bytes) -> set[str]:
    import pickletools

    return {argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)}


class Versioned(Unit):
    """A unit whose state has changed."""

    version = 2

    def migrate(self, state, version):
        assert version == 1
        state["renamed"] = state.pop("old")


def test_an_old_state_is_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = Workflow(name="w")
    unit = Versioned(workflow, "unit")
    unit.old = 3
    monkeypatch.setattr(Versioned, "version", 1)
    data = pickle.dumps(workflow)
    monkeypatch.undo()
    assert pickle.loads(data)["unit"].renamed == 3
    assert "old" not in vars(pickle.loads(data)["unit"])


def test_a_state_that_no_class_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = Workflow(name="w")
    Holder(workflow, "unit", value=1)
    data = pickle.dumps(workflow)
    monkeypatch.setattr(Holder, "version", 2)
    with pytest.raises(runner.errors.SnapshotMismatchError, match=r"Holder has version 2, .* has 1: define Holder\.migrate"):
        pickle.loads(data)
    newer = pickle.dumps(workflow)
    monkeypatch.undo()
    with pytest.raises(runner.errors.SnapshotMismatchError, match="has version 2, and the class has 1"):
        pickle.loads(newer)


class Squeezed(Unit):
    """Keeps an attribute in another form in its state, as VELES's manual allows: both overrides call `super()`."""

    def __getstate__(self):
        return super().__getstate__() | {"text": self.text[::-1]}

    def __setstate__(self, state):
        super().__setstate__(state | {"text": state["text"][::-1]})
        self.seen_ = self.partner.text

    partner: Unit


def test_overrides_of_setstate_are_called() -> None:
    workflow = Workflow(name="w")
    unit = Squeezed(workflow, "unit")
    unit.text = "abc"
    unit.partner = Holder(workflow, "partner", text="here")
    restored = pickle.loads(pickle.dumps(workflow))
    assert restored["unit"].text == "abc"
    assert restored["unit"].seen_ == "here"
    inner = Workflow(workflow, "inner")
    deep = Squeezed(inner, "deep")
    deep.text, deep.partner = "xyz", unit
    assert pickle.loads(pickle.dumps(workflow))["inner"]["deep"].text == "xyz"
