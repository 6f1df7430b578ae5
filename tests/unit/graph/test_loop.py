"""The run loop, and where control stands when it is pickled."""

import itertools
import pickle
import random

import pytest

from runner.graph import Bool, Workflow
from tests.units import Counter, Failing, LoggedWorkflow, Pickler, Recorder, Stopping, chain, loop, ran, recursion_limit


def diamond(*kinds: type[Recorder]) -> LoggedWorkflow:
    """start -> a -> (b, c) -> d -> end."""
    workflow = LoggedWorkflow()
    a, b, c, d = (kind(workflow, name) for kind, name in zip(kinds or (Recorder,) * 4, "abcd", strict=True))
    chain(workflow, a, b, d)
    c.link_from(a)
    d.link_from(c)
    return workflow


def test_a_join_waits_for_all_its_links() -> None:
    assert ran(diamond()) == ["a", "b", "c", "d"]


def test_links_decide_about_the_order_and_not_the_order_of_construction() -> None:
    workflow = LoggedWorkflow()
    units = [Recorder(workflow, name) for name in "cab"]
    chain(workflow, units[1], units[2], units[0])
    assert ran(workflow) == ["a", "b", "c"]


def test_the_order_is_the_same_in_every_run(rng: random.Random) -> None:
    def build() -> LoggedWorkflow:
        numbers = random.Random(seed)
        workflow = LoggedWorkflow()
        units = [Recorder(workflow, str(number)) for number in range(60)]
        for position, unit in enumerate(units):
            unit.link_from(*numbers.sample([workflow.start_point, *units[:position]], min(position + 1, numbers.randint(1, 4))))
        workflow.end_point.link_from(units[-1])
        return workflow

    seed = rng.random()
    first = ran(build())
    assert first == ran(build())
    for unit in (workflow := build()).units:
        done = [first.index(before.name) for before in unit.predecessors if before.name in first]
        assert unit is workflow.end_point or unit.name not in first or all(place < first.index(unit.name) for place in done)


@pytest.mark.parametrize(("gate", "expected"), [("gate_skip", ["a", "c", "d"]), ("gate_block", ["a", "c"])])
def test_a_skipped_unit_passes_control_on_and_a_blocked_one_does_not(gate: str, expected: list[str]) -> None:
    workflow = diamond()
    setattr(workflow["b"], gate, Bool(True))
    assert ran(workflow) == expected


def test_block_wins_over_skip() -> None:
    workflow = diamond()
    workflow["b"].gate_block = workflow["b"].gate_skip = Bool(True)
    assert ran(workflow) == ["a", "c"]


def test_gates_are_looked_at_when_the_turn_comes() -> None:
    workflow = LoggedWorkflow()
    counter = Counter(workflow, "count", turns=3)
    extra = Recorder(workflow, "extra")
    loop(workflow, counter, extra, counter=counter)
    extra.gate_skip = ~counter.done
    assert ran(workflow) == ["count", "count", "count", "extra"]


def test_a_unit_that_ignores_its_gate_runs_for_each_link() -> None:
    workflow = diamond()
    workflow["d"].ignores_gate = Bool(True)
    workflow.end_point.unlink_all()
    assert ran(workflow) == ["a", "b", "c", "d", "d"]


def test_the_end_point_ends_the_run_and_the_next_one_begins_anew() -> None:
    workflow = diamond()
    late = Recorder(workflow, "late").link_from(workflow["d"])
    workflow.end_point.unlink_all()
    workflow.end_point.link_from(workflow["b"])
    assert ran(workflow) == ["a", "b", "c"]
    workflow.run()
    assert workflow.log == ["a", "b", "c"] * 2
    assert late.name not in workflow.log


def test_what_one_run_left_at_a_join_does_not_count_in_the_next() -> None:
    workflow = diamond()
    b, c = workflow["b"], workflow["c"]
    b.gate_block <<= True
    assert ran(workflow) == ["a", "c"]
    b.gate_block <<= False
    c.gate_block <<= True
    workflow.run()
    assert workflow.log == ["a", "c", "a", "b"], "d ran though c had not"


def test_stop_halts_after_the_running_unit_and_run_goes_on() -> None:
    workflow = diamond(Recorder, Stopping, Recorder, Recorder)
    assert ran(workflow) == ["a", "b"]
    workflow.run()
    assert workflow.log == ["a", "b", "c", "d"]


def test_a_stop_within_a_nested_workflow_goes_on_there() -> None:
    workflow = LoggedWorkflow()
    inner = Workflow(workflow, "inner")
    chain(inner, Recorder(inner, "i1"), Stopping(inner, "i2"), Recorder(inner, "i3"))
    chain(workflow, Recorder(workflow, "a"), inner, Recorder(workflow, "b"))
    assert ran(workflow) == ["a", "i1", "i2"]
    restored = pickle.loads(pickle.dumps(workflow))
    for stopped in (workflow, restored):
        stopped.run()
        assert stopped.log == ["a", "i1", "i2", "i3", "b"]


def test_an_error_is_passed_on_and_its_unit_stays_the_next() -> None:
    workflow = diamond(Recorder, Failing, Recorder, Recorder)
    workflow.initialize()
    with pytest.raises(ArithmeticError, match="as asked for"):
        workflow.run()
    assert workflow.log == ["a"]
    restored = pickle.loads(pickle.dumps(workflow))
    for failed in (workflow, restored):
        failed.run()
        assert failed.log == ["a", "b", "c", "d"]


def test_an_error_within_a_nested_workflow_goes_on_there() -> None:
    workflow = LoggedWorkflow()
    inner = Workflow(workflow, "inner")
    chain(inner, Recorder(inner, "i1"), Failing(inner, "i2"), Recorder(inner, "i3"))
    chain(workflow, inner, Recorder(workflow, "b"))
    workflow.initialize()
    with pytest.raises(ArithmeticError):
        workflow.run()
    workflow.run()
    assert workflow.log == ["i1", "i2", "i3", "b"]


@pytest.mark.parametrize("place", range(4))
def test_a_pickle_taken_anywhere_in_a_diamond_goes_on_behind_the_unit_that_took_it(place: int) -> None:
    kinds = [Recorder] * 4
    kinds[place] = Pickler
    workflow = diamond(*kinds)
    whole = ran(workflow)
    (data,) = workflow[2 + place].taken_
    restored = pickle.loads(data)
    assert restored.log == whole[: place + 1]
    assert ran(restored) == whole


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pickle_taken_in_nested_workflows_goes_on_in_all_of_them(depth: int) -> None:
    workflow = LoggedWorkflow()
    level = workflow
    for number in range(depth):
        inner = Workflow(level, f"inner{number}")
        counter = Counter(level, f"count{number}", turns=2)
        loop(level, Recorder(level, f"before{number}"), inner, counter, counter=counter)
        level = inner
    taker = Pickler(level, "taker")
    chain(level, taker, Recorder(level, "last"))
    whole = ran(workflow)
    assert len(taker.taken_) >= 2
    for data in taker.taken_:
        restored = pickle.loads(data)
        assert whole[: len(restored.log)] == restored.log
        assert ran(restored) == whole


def test_every_moment_of_a_random_graph_can_be_restored(rng: random.Random) -> None:
    workflow = LoggedWorkflow()
    units = [rng.choice([Recorder, Pickler])(workflow, str(number)) for number in range(30)]
    counter = Counter(workflow, "count", turns=3)
    loop(workflow, *units, counter, counter=counter)
    for before, after in itertools.combinations([*units, counter], 2):
        if rng.random() < 0.1:
            after.link_from(before)
    for unit in units:
        unit.gate_skip <<= rng.random() < 0.2
    whole = ran(workflow)
    for data in (data for unit in units if isinstance(unit, Pickler) for data in unit.taken_):
        assert ran(pickle.loads(data)) == whole


def test_the_pickle_of_a_finished_workflow_begins_anew() -> None:
    workflow = diamond()
    ran(workflow)
    restored = pickle.loads(pickle.dumps(workflow))
    restored.log.clear()
    assert ran(restored) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("length", [1000, 10_000])
def test_long_chains_run_pickle_and_restore_under_a_low_recursion_limit(length: int) -> None:
    workflow = LoggedWorkflow()
    units = [Recorder(workflow, str(number)) for number in range(length)]
    taker = Pickler(workflow, "taker")
    units.insert(length // 2, taker)
    for before, unit in itertools.pairwise(units):
        unit.link_attrs(before, ("before", "name"))
    counter = Counter(workflow, "count", turns=2)
    loop(workflow, *units, counter, counter=counter)
    with recursion_limit(80):
        whole = ran(workflow)
        assert len(whole) == 2 * (length + 2)
        assert ran(pickle.loads(taker.taken_[0])) == whole
        workflow.generate_graph()
