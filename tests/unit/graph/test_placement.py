"""Where a snapshotter may stand: the right and the wrong graphs of the VELES manual."""

import re
from operator import attrgetter
from pathlib import Path

import pytest

from runner.errors import CycleError, GraphError, PlacementError
from runner.graph import Bool
from runner.nn import StandardWorkflow
from tests.networks import network
from tests.units import Counter, Holder, LoggedWorkflow, Plotter, Recorder, chain, loop, ran, snapshotter


class Iteration(LoggedWorkflow):
    """start -> repeater -> loader -> gd -> decision -> snapshotter -> after -> repeater or end."""

    def __init__(self, workflow: LoggedWorkflow | None = None) -> None:
        super().__init__(workflow)
        self.counter = Counter(self, "decision", turns=2)
        self.loader = Holder(self, "loader", data_=[1], size=3)
        self.gd = Recorder(self, "gd")
        self.snapshotter = snapshotter(self)
        self.after = Recorder(self, "after")
        body = self.loader, self.gd, self.counter, self.snapshotter, self.after
        self.repeater = loop(self, *body, counter=self.counter)


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iteration:
    monkeypatch.chdir(tmp_path)
    return Iteration()


def refused(workflow: LoggedWorkflow, message: str, error: type[GraphError] = PlacementError) -> None:
    with pytest.raises(error, match=message):
        workflow.initialize()


def test_a_snapshotter_that_closes_the_iteration_is_accepted(workflow, tmp_path: Path) -> None:
    assert ran(workflow) == ["gd", "decision", "after"] * 2
    assert list(tmp_path.glob("snapshots/*.pickle.gz"))


def test_a_snapshotter_at_the_end_of_a_straight_line_is_accepted(tmp_path: Path) -> None:
    workflow = LoggedWorkflow()
    chain(workflow, Recorder(workflow, "a"), snapshotter(workflow, tmp_path))
    assert ran(workflow) == ["a"]


def test_plotters_may_stand_beside_it(workflow) -> None:
    plotter = Plotter(workflow, "plotter").link_from(workflow.counter)
    Plotter(workflow, "next plotter").link_from(plotter)
    plotter.link_attrs(workflow.loader, "size")
    assert ran(workflow).count("next plotter") == 2


def test_a_plotter_after_it_is_accepted(workflow) -> None:
    Plotter(workflow, "plotter").link_from(workflow.snapshotter)
    workflow.initialize()


def test_a_second_snapshotter_behind_the_first_is_accepted(workflow, tmp_path: Path) -> None:
    second = snapshotter(workflow, tmp_path / "second")
    workflow.after.unlink_before()
    workflow.after.link_from(second.link_from(workflow.snapshotter))
    assert ran(workflow) == ["gd", "decision", "after"] * 2


def test_branches_before_it_that_join_at_any_of_them_are_accepted(workflow) -> None:
    beside = Recorder(workflow, "beside").link_from(workflow.loader)
    workflow.counter.ignores_gate = Bool(True)
    workflow.counter.link_from(beside)
    workflow.initialize()


def test_units_that_no_run_reaches_do_not_matter(workflow) -> None:
    Recorder(workflow, "b").link_from(Recorder(workflow, "a"))
    workflow.initialize()


def test_a_link_around_it_is_refused(workflow) -> None:
    workflow.after.link_from(workflow.counter)
    refused(workflow, r"the link decision -> after goes around .*'snapshotter'\): unlink it, so that 'after' runs only after")


def test_a_path_of_several_units_around_it_is_refused(workflow) -> None:
    workflow.after.link_from(Recorder(workflow, "y").link_from(Recorder(workflow, "x").link_from(workflow.counter)))
    refused(workflow, "the link decision -> x -> y -> after goes around")


def test_a_plotter_does_not_make_a_way_around_it_right(workflow) -> None:
    workflow.end_point.link_from(Plotter(workflow, "plotter").link_from(workflow.counter))
    refused(workflow, "the link decision -> plotter -> end_point goes around")


def test_a_cycle_around_it_is_refused(workflow) -> None:
    workflow.repeater.link_from(workflow.counter)
    nodes = ["repeater", "loader", "gd", "decision"]
    turns = [nodes[turn:] + nodes[: turn + 1] for turn in range(4)]
    paths = "|".join(re.escape(" -> ".join(turn)) for turn in turns)
    refused(workflow, rf"the cycle ({paths}) goes around Snapshotter\('snapshotter'\), so no snapshot would be taken")


def test_a_unit_linked_from_itself_is_a_cycle_around_it(workflow) -> None:
    workflow.gd.link_from(workflow.gd)
    refused(workflow, "gd -> gd is a cycle in which every unit waits", CycleError)


def test_a_snapshotter_outside_the_loop_is_refused() -> None:
    workflow = LoggedWorkflow()
    counter = Counter(workflow, "count", turns=2)
    loop(workflow, counter, counter=counter)
    outside = snapshotter(workflow).link_from(counter)
    outside.gate_block = ~counter.done
    workflow.end_point.unlink_before()
    workflow.end_point.link_from(outside)
    refused(workflow, "the cycle (repeater -> count -> repeater|count -> repeater -> count) goes around")


def test_a_parallel_unit_is_refused(workflow) -> None:
    Recorder(workflow, "exporter").link_from(workflow.counter)
    path = "start_point -> repeater -> loader -> gd -> decision -> exporter"
    refused(workflow, rf"'exporter' \({path}\) would run in parallel with Snapshotter\('snapshotter'\), and its state")


def test_a_parallel_image_saver_is_refused_and_right_before_it(workflow) -> None:
    saver = Recorder(workflow, "image_saver").link_from(workflow.loader)
    saver.link_attrs(workflow.loader, "data_")
    refused(workflow, r"'image_saver' \(.*loader -> image_saver\) would run in parallel")
    workflow.counter.link_from(saver)
    workflow.initialize()


def test_a_snapshotter_that_is_linked_from_nothing_is_refused(workflow) -> None:
    other = LoggedWorkflow()
    chain(other, Recorder(other, "a"))
    snapshotter(other)
    refused(other, r"'(a|end_point)' .* would run in parallel")


def test_minibatch_data_read_across_it_is_refused(workflow) -> None:
    workflow.after.link_attrs(workflow.loader, ("input_", "data_"))
    refused(workflow, r"after.input_ reads loader.data_, .* \(loader -> snapshotter -> after\): move 'after' before")


def test_minibatch_data_read_across_it_through_a_chain_of_links_is_refused(workflow) -> None:
    workflow.gd.link_attrs(workflow.loader, ("inputs", "data_"))
    holder = Holder(workflow, "holder")
    holder.link_attrs(workflow.gd, ("values", "inputs"))
    workflow.after.link_attrs(holder, ("mine", "values"))
    refused(workflow, "after.mine reads loader.data_, which is made before")


def test_minibatch_data_read_by_a_plotter_beside_it_is_refused(workflow) -> None:
    # The plotter's turn may come after the snapshotter's; restored, it would have nothing to draw.
    Plotter(workflow, "plotter").link_from(workflow.counter).link_attrs(workflow.loader, "data_")
    refused(workflow, "plotter.data_ reads loader.data_")


def test_minibatch_data_of_the_iteration_before_is_refused(workflow) -> None:
    workflow.loader.link_attrs(workflow.gd, ("feedback", "output_"))
    path = re.escape("(gd -> decision -> snapshotter -> after -> repeater -> loader)")
    refused(workflow, f"loader.feedback reads gd.output_, .* {path}: link 'loader' behind 'gd', or name the attribute without")


def test_minibatch_data_of_the_iteration_before_of_units_behind_it_is_refused(workflow) -> None:
    last = Recorder(workflow, "last").link_from(workflow.after)
    workflow.repeater.unlink_from(workflow.after)
    workflow.end_point.unlink_from(workflow.after)
    workflow.repeater.link_from(last)
    workflow.end_point.link_from(last)
    workflow.after.link_attrs(last, ("feedback", "output_"))
    path = re.escape("(last -> repeater -> loader -> gd -> decision -> snapshotter -> after)")
    refused(workflow, f"after.feedback reads last.output_, .* {path}")


def test_minibatch_data_made_behind_it_may_be_read_in_the_next_iteration(workflow) -> None:
    workflow.after.data_ = 1
    workflow.loader.link_attrs(workflow.after, ("feedback", "data_"))
    workflow.initialize()


def test_minibatch_data_of_a_branch_that_the_reader_does_not_wait_for_is_refused(workflow) -> None:
    beside = Recorder(workflow, "beside").link_from(workflow.loader)
    workflow.counter.link_from(beside)
    beside.link_attrs(workflow.gd, ("input", "output_"))
    refused(workflow, r"beside.input reads gd.output_, .*\(gd -> decision -> snapshotter -> .* -> loader -> beside\)")


def test_minibatch_data_made_once_before_the_loop_is_refused(workflow) -> None:
    once = Holder(workflow, "once", data_=1).link_from(workflow.start_point)
    workflow.repeater.unlink_from(workflow.start_point)
    workflow.repeater.link_from(once)
    workflow.loader.link_attrs(once, ("first", "data_"))
    refused(workflow, r"loader.first reads once.data_, .*\(once -> repeater -> .* -> snapshotter -> .* -> loader\)")


def test_data_of_a_unit_that_never_runs_may_be_read_anywhere(workflow) -> None:
    workflow.after.link_attrs(Holder(workflow, "shared", tables_=1), "tables_")
    workflow.initialize()


def test_minibatch_data_in_a_straight_line_may_be_read_before_it_and_not_after(tmp_path: Path) -> None:
    workflow = LoggedWorkflow()
    first, second, third = (Holder(workflow, name, data_=1) for name in ("first", "second", "third"))
    chain(workflow, first, second, snapshotter(workflow, tmp_path), third)
    second.link_attrs(first, ("input", "data_"))
    workflow.initialize()
    third.link_attrs(second, ("input", "data_"))
    refused(workflow, r"third.input reads second.data_, .*\(second -> snapshotter -> third\)")


def test_data_that_is_state_may_be_read_across_it(workflow) -> None:
    workflow.after.link_attrs(workflow.loader, "size")
    workflow.initialize()


def test_data_made_after_it_may_be_read_after_it(workflow) -> None:
    last = Recorder(workflow, "last").link_from(workflow.after)
    last.link_attrs(workflow.after, "data_")
    workflow.initialize()


def test_a_loop_within_the_iteration_that_it_does_not_see_is_refused(workflow) -> None:
    workflow.gd.ignores_gate = Bool(True)
    workflow.gd.link_from(workflow.gd)
    refused(workflow, "the cycle gd -> gd goes around")


def test_the_check_comes_before_the_first_unit_runs(workflow) -> None:
    workflow.after.link_from(workflow.counter)
    refused(workflow, "goes around")
    assert workflow.log == []


@pytest.fixture
def standard(tmp_path: Path) -> StandardWorkflow:
    return network(tmp_path)


def test_the_standard_workflow_is_accepted(standard) -> None:
    standard.initialize()


@pytest.mark.parametrize("precursor", ["loader", "fc1", "decision", "lr_adjuster"])
def test_a_parallel_unit_in_the_standard_workflow_is_refused(precursor: str, standard) -> None:
    saver = Recorder(standard, "image_saver").link_from(standard[precursor])
    saver.link_attrs(standard.loader, "minibatch_data_")
    path = r"start_point -> repeater -> loader.* -> image_saver"
    refused(standard, rf"'image_saver' \({path}\) would run in parallel with Snapshotter\('snapshotter'\)")


def test_a_plotter_beside_the_snapshotter_of_the_standard_workflow_is_accepted(standard) -> None:
    plotter = Plotter(standard, "plotter").link_from(standard.lr_adjuster)
    plotter.link_attrs(standard.decision, "history")
    standard.initialize()


@pytest.mark.parametrize("target", ["repeater", "end_point"])
@pytest.mark.parametrize("precursor", ["decision", "lr_adjuster"])
def test_a_link_around_the_snapshotter_of_the_standard_workflow_is_refused(precursor: str, target: str, standard) -> None:
    standard[target].link_from(standard[precursor])
    around = r"the cycle .*{0}.* goes around" if target == "repeater" else "the link {0} -> end_point goes around"
    refused(standard, around.format(precursor))


def test_minibatch_data_read_behind_the_snapshotter_of_the_standard_workflow_is_refused(standard) -> None:
    late = Recorder(standard, "late").link_from(standard.snapshotter)
    late.link_attrs(standard.forwards[-1], "output_")
    refused(standard, r"late.output_ reads out.output_, .*\(out -> snapshotter -> late\): move 'late' before the snapshotter")


class Around(LoggedWorkflow):
    """start -> source -> before -> an iteration with a snapshotter -> behind -> end, and a unit beside the iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Holder(self, "source", data_=[1], size=3)
        self.before, self.behind = Recorder(self, "before"), Recorder(self, "behind")
        self.inner = Iteration(self)
        chain(self, self.source, self.before, self.inner, self.behind)
        self.beside = Holder(self, "beside", data_=[1]).link_from(self.before)
        self.behind.link_from(self.beside)


@pytest.mark.parametrize(
    ("reader", "source"),
    [
        *(("behind", "source"), ("inner", "source"), ("inner.after", "source"), ("beside", "source"), ("behind", "beside")),
        *(("behind", "inner.loader"), ("before", "behind")),
    ],
)
def test_data_that_cross_a_nested_workflow_with_a_snapshotter_are_refused(reader: str, source: str) -> None:
    workflow = Around()
    workflow.behind.data_ = [1]
    unit, made = attrgetter(reader, source)(workflow)
    unit.link_attrs(made, ("input_", "data_"))
    refused(workflow, f"reads {made.name}.data_")


def test_data_on_one_side_of_it_and_units_beside_it_are_accepted(workflow, tmp_path: Path) -> None:
    around = Around()
    around.before.link_attrs(around.source, ("input_", "data_"))
    around.inner.gd.link_attrs(around.inner.loader, ("input_", "data_"))
    assert ran(around) == ["before", *["gd", "decision", "after"] * 2, "behind"]
