import pickle

import pytest

from runner.errors import ConfigError, GraphError, LinkError
from runner.graph import Unit, Workflow
from tests.units import Holder, LoggedWorkflow, Recorder


class Tunable(Unit):
    """A unit with one setting that may change."""

    adjustable = frozenset({"rate", "depth"})


@pytest.fixture
def units() -> list[Unit]:
    workflow = LoggedWorkflow()
    return [Recorder(workflow, name) for name in "abcd"]


def links(units: list[Unit]) -> set[str]:
    found = {f"{unit.name}{target.name}" for unit in units for target in unit.successors}
    assert found == {f"{source.name}{unit.name}" for unit in units for source in unit.predecessors}
    return found


def test_a_unit_is_called_like_its_class_unless_named() -> None:
    workflow = LoggedWorkflow()
    assert Holder(workflow).name == "Holder"
    assert repr(Holder(workflow, "x")) == "Holder('x')"


def test_link_from_takes_several_units_and_returns_the_unit(units) -> None:
    a, b, c, d = units
    assert d.link_from(a, b).link_from(c) is d
    assert links(units) == {"ad", "bd", "cd"}


class Unmade(Unit):
    """Forgets what a unit begins with."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow


@pytest.mark.parametrize("link", [lambda a, b: a.link_from(b), lambda a, b: b.link_from(a)])
def test_a_unit_that_forgets_to_call_super_is_named(units, link) -> None:
    with pytest.raises(GraphError, match=r"^Unmade\.__init__\(\) does not call super\(\)\.__init__\(workflow\)"):
        link(units[0], Unmade(units[0].workflow))
    assert "Unmade" in repr(Unmade(units[0].workflow))


def test_links_along_which_nothing_ever_runs_are_refused(units) -> None:
    a = units[0]
    workflow, other = a.workflow, LoggedWorkflow()
    inner = LoggedWorkflow(workflow)
    for unit, wrong in (
        (a, workflow.end_point),
        (a, workflow),
        (workflow.start_point, a),
        (a, other.start_point),
        (a, Recorder(inner, "inside")),
        (Recorder(inner, "within"), a),
    ):
        with pytest.raises(LinkError, match=r"runs? after|units of two workflows"):
            unit.link_from(wrong)
        assert wrong not in unit.predecessors
    inner.link_from(a)
    workflow.end_point.link_from(inner)


def test_linking_twice_is_one_link(units) -> None:
    a, b, *_ = units
    b.link_from(a, a).link_from(a)
    assert a.successors == [b]
    assert b.predecessors == [a]


@pytest.mark.parametrize(
    ("unlink", "left"),
    [
        (lambda a, b, c, d: c.unlink_from(a), {"ab", "bc", "cd"}),
        (lambda a, b, c, d: c.unlink_from(a, b), {"ab", "cd"}),
        (lambda a, b, c, d: c.unlink_from(d), {"ab", "bc", "ac", "cd"}),
        (lambda a, b, c, d: c.unlink_before(), {"ab", "cd"}),
        (lambda a, b, c, d: a.unlink_after(), {"bc", "cd"}),
        (lambda a, b, c, d: c.unlink_all(), {"ab"}),
    ],
)
def test_unlinking(units, unlink, left: set[str]) -> None:
    a, b, c, d = units
    b.link_from(a)
    c.link_from(a, b)
    d.link_from(c)
    unlink(a, b, c, d)
    assert links(units) == left


@pytest.mark.parametrize("into_one", [True, False])
def test_units_that_are_linked_to_one_are_hardly_compared(into_one: bool) -> None:
    compared = 0

    class Counted(Unit):
        __hash__ = Unit.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return self is other

    workflow = Workflow()
    hub, *others = [Counted(workflow) for _ in range(201)]
    for _ in range(2):  # the second time they are linked already
        for unit in others:
            hub.link_from(unit) if into_one else unit.link_from(hub)
    assert (hub.predecessors if into_one else hub.successors) == others
    for unit in others:
        hub.unlink_from(unit) if into_one else unit.unlink_from(hub)
    assert not hub.predecessors
    assert not hub.successors
    assert compared < 5 * len(others)


def test_reconfigure_changes_what_is_adjustable() -> None:
    unit = Tunable(LoggedWorkflow(), "fc1")
    unit.reconfigure(rate=0.5)
    assert unit.rate == 0.5
    with pytest.raises(
        ConfigError, match=r"size of Tunable\('fc1'\) is fixed once the unit is built \(can change: depth, rate\)"
    ):
        unit.reconfigure(size=3)
    with pytest.raises(ConfigError, match=r"size of Recorder\('a'\) is fixed .* \(nothing of it can change\)"):
        Recorder(LoggedWorkflow(), "a").reconfigure(size=3)


def test_a_single_unit_pickles_with_its_workflow() -> None:
    workflow = LoggedWorkflow(name="main")
    first, second = Holder(workflow, "first", x=[1]), Holder(workflow, "second")
    second.link_attrs(first, "x")
    second.link_from(first)
    restored = pickle.loads(pickle.dumps(second))
    assert restored is restored.workflow["second"]
    assert restored.predecessors == [restored.workflow["first"]]
    assert restored.x == [1]


def test_a_unit_without_a_workflow_pickles() -> None:
    restored = pickle.loads(pickle.dumps(Holder(None, "alone", x=3)))
    assert (restored.name, restored.x, restored.workflow) == ("alone", 3, None)


def test_units_that_are_pickled_together_stay_the_same_objects() -> None:
    workflow = LoggedWorkflow()
    first, second = Holder(workflow, "first"), Holder(workflow, "second")
    first.other, second.others = second, {first: [second]}
    one, two, main = pickle.loads(pickle.dumps([first, second, workflow]))
    assert main.units == [main.start_point, main.end_point, one, two]
    assert one.other is two
    assert two.others == {one: [two]}


@pytest.mark.parametrize("gate", [True, "yes", lambda: True, None])
@pytest.mark.parametrize("name", ["gate_block", "gate_skip", "ignores_gate"])
def test_a_gate_that_is_no_bool_is_refused(name: str, gate: object) -> None:
    workflow = Workflow()
    unit = Unit(workflow, "unit").link_from(workflow.start_point)
    workflow.end_point.link_from(unit)
    setattr(unit, name, gate)
    with pytest.raises(GraphError, match=rf"'unit'.*{name}"):
        workflow.initialize()


@pytest.mark.parametrize(("workflow", "name"), [("flow", None), (5, "unit"), (None, 5), (None, b"unit")])
def test_a_unit_has_a_workflow_and_a_text_for_its_name(workflow: object, name: object) -> None:
    with pytest.raises(GraphError, match="Unit"):
        Unit(workflow, name)
