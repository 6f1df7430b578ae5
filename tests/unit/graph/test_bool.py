import copy
import itertools
import operator
import pickle
import pickletools
import re

import numpy as np
import pytest
import torch

from runner.errors import StateError
from runner.graph import Bool, Unit, Workflow
from tests.units import Holder, LoggedWorkflow

OPERATORS = [operator.or_, operator.and_, operator.xor]
SIDES = list(itertools.product([False, True], repeat=2))


class Calls:
    """Counts calls; its methods can be pickled."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def true(self) -> None:
        self.seen.append("true")

    def false(self) -> None:
        self.seen.append("false")


@pytest.mark.parametrize("value", [False, True, 0, 3, None, [], Bool(True), np.bool_(True), torch.tensor(0)])
def test_assignment_takes_the_truth_of_any_value(value: object) -> None:
    flag = Bool()
    same = flag
    flag <<= value
    assert flag is same
    assert bool(flag) is bool(value)


@pytest.mark.parametrize("value", ["false", "", b"0", lambda: False, [].clear, bool])
def test_what_is_true_whatever_it_means_is_refused(value: object) -> None:
    flag = Bool()
    with pytest.raises(TypeError, match=re.escape(repr(value))):
        flag <<= value
    with pytest.raises(TypeError, match=re.escape(repr(value))):
        Bool(value)
    assert not flag


@pytest.mark.parametrize("function", ["run", 5, True])
def test_what_cannot_be_called_is_no_callback(function: object) -> None:
    for name in ("on_true", "on_false", "on_true_", "on_false_"):
        with pytest.raises(TypeError, match=repr(function)):
            setattr(Bool(), name, function)


@pytest.mark.parametrize("operation", OPERATORS)
@pytest.mark.parametrize(("left", "right"), SIDES)
def test_expressions_follow_their_sources(operation, left: bool, right: bool) -> None:
    a, b = Bool(not left), Bool(not right)
    expression = operation(a, b)
    a <<= left
    b <<= right
    assert bool(expression) is operation(left, right)
    assert bool(~expression) is not operation(left, right)


@pytest.mark.parametrize("operation", OPERATORS)
@pytest.mark.parametrize(("left", "right"), SIDES)
def test_pickled_expressions_go_on_following_their_sources(operation, left: bool, right: bool) -> None:
    a, b = Bool(left), Bool(right)
    a2, b2, expression = pickle.loads(pickle.dumps((a, b, operation(a, b))))
    assert bool(expression) is operation(left, right)
    a2 <<= not left
    assert bool(expression) is operation(not left, right)
    b2 <<= not right
    assert bool(expression) is operation(not left, not right)
    assert bool(a) is left


def test_a_pickle_holds_data_only() -> None:
    data = pickle.dumps(~(Bool(True) & Bool(False)))
    names = {argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "SHORT_BINUNICODE"}
    assert names <= {
        *("copyreg", "__newobj__", "runner.graph.bool", "Bool", "Expression", "and", "not"),
        *("_followers", "_on_false", "_on_true", "_value", "_operator", "_sources"),
    }


def test_expressions_cannot_be_assigned_to() -> None:
    expression = Bool() | Bool()
    with pytest.raises(TypeError, match="derived Bool follows its sources and cannot be assigned to"):
        expression <<= True


@pytest.mark.parametrize("operation", OPERATORS)
def test_only_bools_combine(operation) -> None:
    with pytest.raises(TypeError, match=r"combines with a Bool, not with True: write Bool\(True\)"):
        operation(Bool(), True)


def test_callbacks_are_called_when_the_value_changes_to_their_side() -> None:
    calls, flag = Calls(), Bool()
    flag.on_true, flag.on_false = calls.true, calls.false
    flag <<= False
    assert calls.seen == []
    for value in (True, True, False, False, True):
        flag <<= value
    assert calls.seen == ["true", "false", "true"]
    flag.on_true = None
    flag <<= False
    flag <<= True
    assert calls.seen == ["true", "false", "true", "false"]


def test_callbacks_of_expressions_are_called_when_a_source_changes_them() -> None:
    a, b, calls = Bool(), Bool(), Calls()
    expression = (a & b) | (a ^ a)
    expression.on_true, expression.on_false = calls.true, calls.false
    a <<= True
    assert calls.seen == []
    b <<= True
    a <<= False
    assert calls.seen == ["true", "false"]
    assert expression.on_true == calls.true


class Listening(Unit):
    """Lists one of its methods for Bools."""

    callbacks = frozenset({"listed"})

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow, "listening")
        self.seen: list[str] = []
        self.source = Bool()
        self.derived = ~self.source

    def listed(self) -> None:
        self.seen.append("listed")

    def unlisted(self) -> None:
        self.seen.append("unlisted")


def listening() -> tuple[Workflow, Listening]:
    workflow = Workflow(name="w")
    return workflow, Listening(workflow)


def test_callbacks_survive_pickling() -> None:
    workflow, unit = listening()
    unit.source.on_true = unit.listed
    unit.derived.on_false = unit.listed
    again = pickle.loads(pickle.dumps(workflow))["listening"]
    again.source <<= True
    assert again.seen == ["listed", "listed"]
    assert unit.seen == []


def test_functions_that_are_set_for_this_process_are_in_no_pickle() -> None:
    workflow, unit = listening()
    unit.source.on_true_ = unit.unlisted
    unit.derived.on_false_ = lambda: unit.seen.append("lambda")
    unit.source <<= True
    assert unit.seen == ["unlisted", "lambda"]
    again = pickle.loads(pickle.dumps(workflow))["listening"]
    again.source <<= False
    again.source <<= True
    assert again.seen == ["unlisted", "lambda"]


def test_a_method_that_is_not_listed_is_no_state() -> None:
    workflow, unit = listening()
    unit.source.on_true = unit.unlisted
    unit.source <<= True
    assert unit.seen == ["unlisted"]
    with pytest.raises(StateError, match="callbacks"):
        pickle.dumps(workflow)


def test_a_value_shared_by_units_is_one_after_restore() -> None:
    workflow = LoggedWorkflow()
    flag = Bool()
    first, second = Holder(workflow, "a", flag=flag), Holder(workflow, "b")
    second.gate_block = flag | first.gate_skip
    restored = pickle.loads(pickle.dumps(workflow))
    assert not restored["b"].gate_block
    restored["a"].flag <<= True
    assert restored["b"].gate_block


def test_a_deep_copy_is_independent() -> None:
    a = Bool()
    other, expression = copy.deepcopy((a, ~a))
    other <<= True
    assert not expression
    assert not a


def test_repr_shows_the_tree() -> None:
    assert repr(Bool(True) & ~Bool()) == "Bool(and Bool(True) Bool(not Bool(False)))"
