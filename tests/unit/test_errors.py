import inspect
import pickle
import re

import pytest

from runner import errors
from runner.errors import RunnerError
from tests.units import Holder, LoggedWorkflow

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, RunnerError)]


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_pickling(cls: type[RunnerError]) -> None:
    error = pickle.loads(pickle.dumps(cls("what, which, where")))
    assert type(error) is cls
    assert str(error) == "what, which, where"
    assert error.args == ("what, which, where",)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_message_is_one_line_whatever_comes_into_it(cls: type[RunnerError]) -> None:
    assert str(cls("workflow 'a\nb\x1b[2J\u202e' ends")) == r"workflow 'a\nb\x1b[2J\u202e' ends"


def test_an_error_that_knows_its_unit_survives_pickling() -> None:
    unit = Holder(LoggedWorkflow(), "loader", hook=lambda: 1)
    error = errors.DemandError("demands", name="labels", obj=unit)
    assert str(pickle.loads(pickle.dumps(error))) == "demands"


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_have_a_docstring_and_an_exit_code(cls: type[RunnerError]) -> None:
    assert cls.__doc__
    assert cls.exit_code in (1, 2)


def test_the_tree_in_the_docstring_is_that_of_the_classes() -> None:
    drawn = {}
    parents = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"([│├└─ ]*)(\w+Error)(?: \(([\w.]+)\))?", line)
        if found and found[2] in vars(errors):
            depth = len(found[1]) // 4
            parents[depth:] = [found[2]]
            drawn[found[2]] = (parents[depth - 1] if depth else "Exception", found[3])
    actual = {}
    for cls in CLASSES:
        first, *others = cls.__bases__
        builtin = {name: f"pickle.{name}" for name in ("PicklingError", "UnpicklingError")}
        name = others[0].__name__ if others else None
        actual[cls.__name__] = (first.__name__, builtin.get(name, name))
    assert drawn == actual
