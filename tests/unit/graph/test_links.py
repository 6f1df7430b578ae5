import itertools
import pickle
import re

import pytest

from runner.errors import DemandError, LinkError
from runner.graph import Bool, Unit
from tests.units import Holder, LoggedWorkflow, recursion_limit


class Fixed(Unit):
    """A unit whose attributes its class computes or presets."""

    preset = 5

    @property
    def computed(self) -> int:
        return 7

    def method(self) -> int:
        return 9


class Heir(Fixed):
    """A subclass with a preset of its own."""

    preset = 6


@pytest.fixture
def workflow() -> LoggedWorkflow:
    return LoggedWorkflow()


def test_immutable_values_are_followed(workflow) -> None:
    source, user = Holder(workflow, x=1), Holder(workflow)
    user.link_attrs(source, "x", ("mine", "x"))
    source.x = 2
    assert (user.x, user.mine) == (2, 2)


def test_mutable_values_are_shared(workflow) -> None:
    source, user = Holder(workflow, x=[1]), Holder(workflow)
    user.link_attrs(source, "x")
    user.x.append(2)
    assert source.x == [1, 2]
    assert user.x is source.x
    source.x = [3]
    assert user.x == [3]


def test_a_value_may_come_after_the_link(workflow) -> None:
    source, user = Holder(workflow, "source"), Holder(workflow, "user")
    user.link_attrs(source, "x")
    with pytest.raises(AttributeError, match=r"Holder\('source'\) has no attribute 'x'"):
        _ = user.x
    source.x = 1
    assert user.x == 1


def test_an_unlinked_unit_of_the_class_keeps_its_own_value(workflow) -> None:
    source, user, other = Holder(workflow, x=1), Holder(workflow), Holder(workflow, "other", x=3)
    user.link_attrs(source, "x")
    assert other.x == 3
    other.x = 4
    assert (other.x, user.x) == (4, 1)
    with pytest.raises(AttributeError, match=r"Holder\('third'\) has no attribute 'x'"):
        _ = Holder(workflow, "third").x


def test_a_one_way_link_cannot_be_written_to(workflow) -> None:
    source, user = Holder(workflow, "source", x=1), Holder(workflow, "user")
    user.link_attrs(source, ("y", "x"))
    with pytest.raises(LinkError, match=r"Holder\('user'\).y is linked one-way to Holder\('source'\).x: set it there"):
        user.y = 2
    assert source.x == 1


def test_a_two_way_link_writes_to_the_source(workflow) -> None:
    first, second, third = (Holder(workflow, str(number)) for number in range(3))
    first.x = 1
    second.link_attrs(first, "x", two_way=True)
    third.link_attrs(second, ("y", "x"), two_way=True)
    third.y = 5
    assert (first.x, second.x, third.y) == (5, 5, 5)


def test_a_two_way_link_to_a_one_way_link_is_refused_where_it_is_one_way(workflow) -> None:
    first, second, third = (Holder(workflow, str(number)) for number in range(3))
    first.x = 1
    second.link_attrs(first, "x")
    third.link_attrs(second, "x", two_way=True)
    with pytest.raises(LinkError, match=r"Holder\('1'\).x is linked one-way to Holder\('0'\).x"):
        third.x = 2


def test_a_linked_bool_is_assigned_through_the_link(workflow) -> None:
    source, user = Holder(workflow, flag=Bool()), Holder(workflow)
    user.link_attrs(source, "flag")
    user.flag <<= True
    assert source.flag


def test_class_presets_can_be_linked_and_are_inherited(workflow) -> None:
    source = Holder(workflow, preset=1)
    base, heir = Fixed(workflow), Heir(workflow)
    assert (base.preset, heir.preset) == (5, 6)
    base.link_attrs(source, "preset")
    assert (base.preset, heir.preset, Fixed(workflow).preset, Fixed.preset) == (1, 6, 5, 5)
    heir.link_attrs(base, "preset")
    source.preset = 2
    assert (base.preset, heir.preset, Heir(workflow).preset) == (2, 2, 6)


@pytest.mark.parametrize("name", ["computed", "method", "run", "restored_from_snapshot"])
def test_what_a_class_computes_cannot_be_linked(workflow, name: str) -> None:
    with pytest.raises(LinkError, match=f"{name} is defined by its class Fixed and cannot be linked"):
        Fixed(workflow).link_attrs(Holder(workflow), name)


def test_a_computed_attribute_can_be_followed(workflow) -> None:
    user = Holder(workflow)
    user.link_attrs(Fixed(workflow), "computed")
    assert user.computed == 7


def test_links_that_follow_themselves_are_refused(workflow) -> None:
    first, second, third = (Holder(workflow, str(number)) for number in range(3))
    second.link_attrs(first, "x")
    third.link_attrs(second, "x")
    with pytest.raises(LinkError, match=r"Holder\('0'\).x would be linked to itself through Holder\('2'\).x"):
        first.link_attrs(third, "x")
    with pytest.raises(LinkError, match="linked to itself"):
        first.link_attrs(first, "x")
    first.link_attrs(third, ("y", "x"))


def test_restored_links_are_followed_before_another_closes_a_circle(workflow) -> None:
    first, second = Holder(workflow, "first"), Holder(workflow, "second")
    second.link_attrs(first, "x")
    restored = pickle.loads(pickle.dumps(workflow))
    with pytest.raises(LinkError, match="linked to itself"):
        restored["first"].link_attrs(restored["second"], "x")
    third = Holder(restored, "third").link_attrs(restored["second"], "x")
    with pytest.raises(LinkError, match="linked to itself"):
        restored["first"].link_attrs(third, "x")


@pytest.mark.parametrize("order", [range(1, 50), range(49, 0, -1), [*range(25, 50), *range(1, 25)]], ids=["on", "back", "half"])
def test_a_chain_may_be_linked_in_any_order(workflow, order) -> None:
    units = [Holder(workflow, str(number)) for number in range(50)]
    for number in order:
        units[number].link_attrs(units[number - 1], "x")
    units[0].x = 3
    assert [unit.x for unit in units] == [3] * 50
    for unit in units:
        with pytest.raises(LinkError, match="linked to itself"):
            units[0].link_attrs(unit, "x")


def test_links_survive_pickling_without_the_values_behind_them(workflow) -> None:
    source, user = Holder(workflow, "source", x=1, data_=2), Holder(workflow, "user")
    user.link_attrs(source, "x", ("data_", "data_"))
    restored = pickle.loads(pickle.dumps(workflow))
    restored["source"].x = 8
    restored["source"].data_ = 9
    assert (restored["user"].x, restored["user"].data_) == (8, 9)
    with pytest.raises(LinkError):
        restored["user"].x = 1


@pytest.mark.parametrize("two_way", [False, True])
def test_long_chains_of_links_need_no_recursion(workflow, two_way: bool) -> None:
    units = [Holder(workflow, str(number)) for number in range(3000)]
    units[0].x = 1
    for before, unit in itertools.pairwise(units):
        unit.link_attrs(before, "x", two_way=two_way)
    with recursion_limit(60):
        assert units[-1].x == 1
        if two_way:
            units[-1].x = 2
            assert units[0].x == 2
        else:
            with pytest.raises(LinkError):
                units[-1].x = 2


def test_an_attribute_can_be_unlinked(workflow) -> None:
    source, user = Holder(workflow, x=1), Holder(workflow)
    user.link_attrs(source, "x")
    del user.x
    user.x = 5
    assert (source.x, user.x) == (1, 5)


def test_demands_are_met_by_links_and_by_values(workflow) -> None:
    source, linked, valued = Holder(workflow), Holder(workflow, "linked"), Holder(workflow, "valued")
    for unit in (linked, valued):
        unit.demand("x", "y")
    linked.link_attrs(source, "x", "y")
    valued.x, valued.y = 0, ""
    linked.check_demands()
    valued.check_demands()


def test_an_unmet_demand_names_unit_and_attribute(workflow) -> None:
    unit = Holder(workflow, "loader", x=1)
    unit.demand("x", "labels")
    with pytest.raises(DemandError, match=r"Holder\('loader'\) demands 'labels', which is neither linked nor set"):
        workflow.initialize()


@pytest.mark.parametrize("other", [None, "loader", object(), [], Bool()])
def test_a_link_to_what_is_no_unit_is_refused_when_it_is_made(workflow, other: object) -> None:
    unit = Holder(workflow, "unit")
    with pytest.raises(LinkError, match=re.escape(repr(other))):
        unit.link_attrs(other, "value")
    assert unit.links() == {}
    with pytest.raises(LinkError, match="is none"):
        unit.link_from(Holder(workflow, "before"), [other])
    assert unit.predecessors == []


@pytest.mark.parametrize("name", ["", "a b", 5, ("a",), ("a", "b", "c"), ("a", 1), ["a", "b"], None])
def test_names_of_links_are_names(workflow, name: object) -> None:
    unit, other = Holder(workflow, "unit"), Holder(workflow, "other")
    with pytest.raises(LinkError, match=re.escape(repr(name))):
        unit.link_attrs(other, "value", name)
    assert unit.links() == {}


def test_units_are_linked_and_unlinked_one_by_one_or_as_lists(workflow) -> None:
    a, b, c, last = (Holder(workflow, name) for name in "abcl")
    assert last.link_from([a, b], c) is last
    assert last.predecessors == [a, b, c]
    assert all(unit.successors == [last] for unit in (a, b, c))
    assert last.unlink_from([a], (c,)).predecessors == [b]
    assert last.unlink_before().link_from((a, b)).unlink_all() is last
    assert a.link_from(b).unlink_after() is a
    assert [unit.successors for unit in (a, b, c)] == [[], [a], []]
