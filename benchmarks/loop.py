"""What the run loop costs over calling the same methods from a plain loop.

    python -m benchmarks.loop

A ring of 8 empty units with gates, 50,000 times around; and a chain of 1,000 units that runs, is pickled and restored.
"""

from __future__ import annotations

import pickle
import time

from benchmarks.measure import in_turns, print_table, verdict
from runner.graph import Bool, Repeater, Unit, Workflow

ROUNDS, UNITS, CHAIN = 50_000, 8, 1_000


class Empty(Unit):
    def run(self) -> None:
        pass


class Counter(Unit):
    """Counts the times around the ring."""

    def __init__(self, workflow: Workflow) -> None:
        super().__init__(workflow)
        self.left = 0
        self.done = Bool(False)

    def run(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.done <<= True


def ring() -> tuple[Workflow, list[Unit], Counter]:
    workflow = Workflow()
    units: list[Unit] = [Repeater(workflow).link_from(workflow.start_point)]
    for _ in range(UNITS - 2):
        units.append(Empty(workflow).link_from(units[-1]))
        units[-1].gate_skip = Bool(False)
    counter = Counter(workflow)
    counter.link_from(units[-1])
    units[0].link_from(counter)
    units[0].gate_block = counter.done
    workflow.end_point.link_from(counter)
    workflow.end_point.gate_block = ~counter.done
    workflow.initialize()
    return workflow, [*units, counter], counter


def main() -> None:
    workflow, units, counter = ring()

    def loop() -> None:
        counter.left, counter.done._value = ROUNDS, False
        workflow.run()

    def plain() -> None:
        counter.left, counter.done._value = ROUNDS, False
        for _ in range(ROUNDS):
            for unit in units:
                unit.run()

    times = in_turns({"run loop": loop, "plain loop": plain}, 7)
    steps = ROUNDS * UNITS / 1e6
    rows = [(name, f"{spent / steps:.3f}") for name, spent in times.items()]
    print_table(f"Ring of {UNITS} empty units", ("what", "microseconds a unit"), rows)
    print(f"\nover the plain loop: {verdict((times['run loop'] - times['plain loop']) / steps, 0.5)} microseconds a unit")
    chain()


def chain() -> None:
    workflow = Workflow()
    previous: Unit = workflow.start_point
    for _ in range(CHAIN):
        previous = Empty(workflow).link_from(previous)
    workflow.end_point.link_from(previous)
    data = pickle.dumps(workflow)
    rows = []
    for name, action in {
        "initialize": workflow.initialize,
        "run": workflow.run,
        "pickle.dumps": lambda: pickle.dumps(workflow),
        "pickle.loads": lambda: pickle.loads(data),
    }.items():
        began = time.perf_counter()
        action()
        rows.append((name, f"{1000 * (time.perf_counter() - began):.1f}"))
    print_table(f"Chain of {CHAIN} units", ("step", "ms"), rows)


if __name__ == "__main__":
    main()
