import pickle
import random

import numpy as np
import pytest
import torch

from runner.errors import ConfigError, CycleError, GraphError
from runner.graph import Bool, Repeater, Unit, Workflow, random_state
from tests.units import Counter, LoggedWorkflow, Pickler, Recorder, chain, loop, ran


class Witness(Recorder):
    """Remembers when the workflow counted as restored."""

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.at_ = {"init_unpickled": self.restored_from_snapshot if hasattr(self, "workflow") else False}

    def initialize(self) -> None:
        self.at_["initialize"] = self.restored_from_snapshot

    def run(self) -> None:
        super().run()
        self.at_["run"] = self.restored_from_snapshot


class Dice(Recorder):
    """Draws from every global random generator."""

    def __init__(self, workflow: Workflow, name: str) -> None:
        super().__init__(workflow, name)
        self.drawn: list[float] = []

    def run(self) -> None:
        super().run()
        self.drawn += [random.random(), float(np.random.random()), float(torch.rand(()))]


@pytest.fixture
def workflow() -> LoggedWorkflow:
    workflow = LoggedWorkflow(name="main")
    chain(workflow, *(Recorder(workflow, name) for name in "abc"))
    return workflow


def test_units_are_found_by_name_and_by_position(workflow) -> None:
    assert workflow["b"] is workflow[3]
    assert [unit.name for unit in workflow] == ["start_point", "end_point", "a", "b", "c"]
    assert len(workflow) == 5
    assert workflow["a"] in workflow
    assert bool(LoggedWorkflow())


def test_an_unknown_or_ambiguous_name_lists_those_there_are(workflow) -> None:
    with pytest.raises(KeyError, match=r"0 units of LoggedWorkflow\('main'\) are named 'd'; it has 'start_point', .*'c'"):
        workflow["d"]
    Recorder(workflow, "c")
    with pytest.raises(KeyError, match="2 units"):
        workflow["c"]


def test_dependency_order_begins_each_iteration_at_its_repeater(workflow) -> None:
    other = LoggedWorkflow()
    counter = Counter(other, "count", turns=1)
    body = [Recorder(other, name) for name in "zyx"]
    loop(other, *body, counter, counter=counter)
    assert [unit.name for unit in other.units_in_dependency_order] == ["start_point", "repeater", *"zyx", "count", "end_point"]


def test_dependency_order_holds_where_branches_join_at_any_of_them() -> None:
    workflow = LoggedWorkflow()
    counter = Counter(workflow, "count", turns=1)
    a, b, join = Recorder(workflow, "a"), Recorder(workflow, "b"), Recorder(workflow, "join")
    repeater = loop(workflow, a, join, counter, counter=counter)
    b.link_from(repeater)
    join.link_from(b)
    join.ignores_gate <<= True
    names = [unit.name for unit in workflow.units_in_dependency_order]
    assert names == ["start_point", "repeater", "a", "b", "join", "count", "end_point"]


def test_dependency_order_holds_for_a_loop_within_a_loop() -> None:
    workflow = LoggedWorkflow()
    outer, inner = Counter(workflow, "outer", turns=2), Counter(workflow, "inner", turns=2)
    second = Repeater(workflow, "second")
    loop(workflow, Recorder(workflow, "a"), second, inner, outer, counter=outer)
    second.link_from(inner)
    names = [unit.name for unit in workflow.units_in_dependency_order]
    assert names == ["start_point", "repeater", "a", "second", "inner", "outer", "end_point"]


def test_a_cycle_without_a_repeater_is_refused_with_its_path(workflow) -> None:
    workflow["a"].link_from(workflow["c"])
    with pytest.raises(CycleError, match=r"(a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c) is a cycle .* with a Repeater"):
        workflow.initialize()


def test_units_are_initialized_in_dependency_order_after_all_demands() -> None:
    workflow = LoggedWorkflow()
    order: list[str] = []

    class Noting(Unit):
        def check_demands(self) -> None:
            order.append(f"demands of {self.name}")

        def initialize(self) -> None:
            order.append(self.name)

    b, a = Noting(workflow, "b"), Noting(workflow, "a")
    chain(workflow, a, b)
    workflow.initialize()
    assert order == ["demands of a", "demands of b", "a", "b"]


def test_restored_from_snapshot_holds_from_restore_to_the_end_of_initialize() -> None:
    workflow = LoggedWorkflow()
    inner = Workflow(workflow, "inner")
    witnesses = [Witness(workflow, "outside"), Witness(inner, "inside")]
    chain(inner, witnesses[1])
    chain(workflow, witnesses[0], inner)
    ran(workflow)
    assert all(witness.at_ == {"init_unpickled": False, "initialize": False, "run": False} for witness in witnesses)
    restored = pickle.loads(pickle.dumps(workflow))
    assert restored.restored_from_snapshot
    assert restored["inner"].restored_from_snapshot
    ran(restored)
    for witness in (restored["outside"], restored["inner"]["inside"]):
        assert witness.at_ == {"init_unpickled": True, "initialize": True, "run": False}


def test_random_states_go_on_where_they_were() -> None:
    workflow = LoggedWorkflow()
    taker = Pickler(workflow, "taker")
    chain(workflow, Dice(workflow, "first"), taker, Dice(workflow, "second"))
    ran(workflow)
    (data,) = taker.taken_
    for copies in range(3):
        restored = pickle.loads(data)
        for _ in range(copies):  # a snapshot of what was restored and has not run yet is the same snapshot
            random_state.seed_all(3)
            restored = pickle.loads(pickle.dumps(restored))
        ran(restored)
        assert restored["second"].drawn == workflow["second"].drawn


def test_seeding_repeats_all_generators() -> None:
    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    random_state.seed_all(5)
    first = draw()
    random_state.seed_all(5)
    assert draw() == first
    random_state.seed_all(6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_drawn_seeds_fit_every_generator() -> None:
    seeds = {random_state.draw_seed() for _ in range(20)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize("limit", ["workflow.steps", ("workflow.steps", "10"), (10, "workflow.steps"), 10])
def test_a_limit_that_is_no_key_with_a_value_is_refused(limit: object) -> None:
    workflow = type("Endless", (Workflow,), {"limit": limit})()
    chain(workflow, Unit(workflow, "unit"))
    with pytest.raises(GraphError, match=r"Endless.limit gives .*: it is a key and its value"):
        workflow.initialize()


def test_a_workflow_without_settings_refuses_overrides(workflow) -> None:
    with pytest.raises(ConfigError, match=r"x.y cannot change on resume: it is as it was in the snapshot"):
        workflow.override("x.y", 3)


def test_the_launcher_is_known_to_all_and_in_no_pickle(workflow) -> None:
    inner = Workflow(workflow, "inner")
    workflow.launcher_ = launcher = object()
    assert inner.launcher is launcher
    assert pickle.loads(pickle.dumps(workflow))["inner"].launcher is None


def test_gates_that_are_shared_stay_shared_in_a_pickle(workflow) -> None:
    gate = Bool()
    workflow["a"].gate_skip = workflow["b"].gate_skip = gate
    workflow["c"].gate_skip = ~gate
    restored = pickle.loads(pickle.dumps(workflow))
    restored["a"].gate_skip <<= True
    assert ran(restored) == ["c"]
