"""The run loop: hands control from unit to unit. Where control stands is state, and part of every snapshot."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.graph.unit import Unit


class Control:
    """Where control stands in one workflow.

    Attributes:
        ready: the units that are to run, in order.
        passed: for each unit that waits for several others, those that have passed control to it.
        current: the unit that is running.
        running: false before the start and after a stop.
    """

    __slots__ = ("current", "passed", "ready", "running")

    ready: deque[Unit]
    passed: dict[Unit, list[Unit]]
    current: Unit | None
    running: bool

    def __init__(self) -> None:
        self.ready = deque()
        self.passed = {}
        self.current = None
        self.running = False

    @property
    def underway(self) -> bool:
        """Whether a run has begun and not reached its end."""
        return self.current is not None or bool(self.ready)

    def run(self, start: Unit) -> None:
        """Runs units until none is ready or `stop()` is called.

        It begins at `start`, or where control stands if a run is under way. The order depends on the graph alone. A unit
        that raises an error stays the next one.
        """
        ready = self.ready
        self.running = True
        try:
            if self.current is not None:
                self.current.resume()
                self._leave(self.current)
            elif not ready:
                self.passed.clear()  # what a run left that gates have ended before its end point
                ready.append(start)
            while ready and self.running:
                self.current = unit = ready.popleft()
                if unit.gate_block:
                    continue
                if not unit.gate_skip:
                    unit.run()
                successors = unit.successors
                if len(successors) == 1 and len(successors[0].predecessors) == 1 and self.running:
                    ready.append(successors[0])
                else:
                    self._leave(unit)
        except BaseException:
            if self.current is not None:
                ready.appendleft(self.current)
            raise
        finally:
            self.current = None
            self.running = False

    def _leave(self, unit: Unit) -> None:
        """Passes control on, unless a stop came while the unit was running others: then it goes on with them."""
        if not self.running and unit.unfinished:
            self.ready.appendleft(unit)
        else:
            self.pass_on(unit)

    def pass_on(self, unit: Unit) -> None:
        """Gives control to the unit's successors; one that waits for others too becomes ready with the last of them."""
        for target in unit.successors:
            if len(target.predecessors) == 1 or target.ignores_gate:
                self.ready.append(target)
                continue
            passed = self.passed.setdefault(target, [])
            if unit not in passed:
                passed.append(unit)
            if len(passed) == len(target.predecessors):
                del self.passed[target]
                self.ready.append(target)

    def finish(self) -> None:
        """Ends the run: the next one begins at the start."""
        self.ready.clear()
        self.passed.clear()
        self.running = False

    def stop(self) -> None:
        """Halts the loop after the running unit; the next run goes on from there."""
        self.running = False
