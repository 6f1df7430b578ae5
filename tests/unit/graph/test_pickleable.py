import functools
import pickle

import pytest

from runner.errors import StateError
from runner.graph import Pickleable, Unit, Workflow
from tests.units import Holder, LoggedWorkflow


class Thing(Pickleable):
    """Counts how it came to be."""

    constructed = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).constructed += 1
        self.kept = [1]
        self.dropped_ = "of the process"

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.made_ = object()


class Twin(Thing):
    """A subclass with one attribute more."""

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.twin_ = self.made_


def module_function() -> int:
    return 42


@pytest.mark.parametrize("cls", [Thing, Twin])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_attributes_ending_in_an_underscore_are_made_again(cls: type[Thing], protocol: int) -> None:
    thing = cls()
    constructed = cls.constructed
    restored = pickle.loads(pickle.dumps(thing, protocol))
    assert cls.constructed == constructed, "__init__ was called"
    assert restored.kept == [1]
    assert not hasattr(restored, "dropped_")
    assert type(restored.made_) is object
    assert restored.made_ is not thing.made_
    assert (cls is Thing) or restored.twin_ is restored.made_


def test_a_function_without_a_name_is_refused_with_unit_and_attribute() -> None:
    workflow = LoggedWorkflow()
    unit = Holder(workflow, "loader", hook=lambda: 1)
    with pytest.raises(StateError, match=r"Holder\('loader'\).hook is 'test_a_func.*lambda>', which cannot be pickled"):
        pickle.dumps(workflow)
    unit.hook, unit.hook_ = module_function, unit.hook
    assert pickle.loads(pickle.dumps(workflow))["loader"].hook() == 42


def test_functions_of_modules_and_methods_are_state() -> None:
    workflow = LoggedWorkflow()
    unit = Holder(workflow, "loader", part=functools.partial(pow, 2), x=3)
    unit.method = unit.links
    restored = pickle.loads(pickle.dumps(workflow))["loader"]
    assert restored.part(5) == 32
    assert restored.method.__self__ is restored


class Forgetful(Holder):
    """Gives less than every unit has."""

    given_: object = None

    def __getstate__(self) -> object:  # type: ignore[override]
        return self.given_


@pytest.mark.parametrize("given", [None, {}, {"x": 1}, (1, 2)])
def test_a_unit_that_could_not_come_back_is_told_when_it_is_pickled(given: object) -> None:
    workflow = LoggedWorkflow()
    Forgetful(workflow, "loader").given_ = given
    with pytest.raises(StateError, match=r"Forgetful\.__getstate__\(\) gives \w+ without the state of a unit: begin with"):
        pickle.dumps(workflow)


class Counting(Unit):
    def __init__(self, workflow: Workflow | None) -> None:
        super().__init__(workflow)
        self.counted_, self.opened_, self.unused_ = 0, 1, 2

    def initialize(self) -> None:
        self.opened_ = 3

    def run(self) -> None:
        self.counted_ += self.opened_


class Mended(Counting):
    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.counted_ = 0


def test_what_a_restored_unit_would_lack_is_refused() -> None:
    with pytest.raises(
        StateError, match=r"Counting\('Counting'\)\.counted_ is made in __init__\(\) alone, and is in no snapshot"
    ):
        pickle.dumps(Counting(None))
    assert pickle.loads(pickle.dumps(Mended(None))).counted_ == 0
