"""A unit that shows something about the run."""

from __future__ import annotations

import logging
from dataclasses import replace

from runner.graph import Unit
from runner.plots.pictures import Picture

log = logging.getLogger(__name__)


class Plotter(Unit):
    """Has a picture drawn into the run's folder each time it runs, if the launcher draws at all; otherwise it does nothing.

    It runs beside the snapshotter: linked from the unit before it, with nothing after it. It has no state and only reads, so a
    run is the same with and without pictures. The file is named after the unit: `errors.png`.
    """

    plotter = True
    view_group = "plotter"

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.failed_ = False

    def picture(self) -> Picture | None:
        """Returns `Curves`, `Matrix` or `Tiles` with copies of the data; None if there is nothing to see yet.

        The workflow's name is put before its title.
        """
        raise NotImplementedError

    def run(self) -> None:
        launcher = None if self.workflow is None else self.workflow.launcher
        if self.workflow is None or launcher is None or launcher.canvas is None:
            return
        try:
            picture = self.picture()
            if picture is not None:
                title = ": ".join(filter(None, (self.workflow.name, picture.title)))
                launcher.canvas.draw(self.name, replace(picture, title=title))
        except Exception as error:  # the run does not depend on its pictures
            if not self.failed_:
                log.warning("%r draws nothing (%s: %s); the run goes on", self, type(error).__name__, error)
            self.failed_ = True
