"""What a job of a sweep costs over Hydra's own, and how long a sweep takes to go on whose jobs are all done.

    python -m benchmarks.sweeps [JOBS]

The jobs are workflows of one empty unit. Hydra's own: the same configuration is composed, and nothing is run.
"""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import print_table, verdict

JOBS = 1_000
STUB = """
from runner import Unit, Workflow

class Stub(Workflow):
    def __init__(self, number):
        super().__init__()
        self.number = number
        self.end_point.link_from(Unit(self).link_from(self.start_point))

    @property
    def objective(self):
        return float(self.number)
"""
HYDRA = """
import sys
import hydra
from runner.cli import conf_files, hydra_app, job, overrides, run_folder

@hydra.main(config_path=None, config_name=conf_files.PRIMARY, version_base="1.3")
def main(config):
    pass

hydra_app.register()
sys.argv[1:] = overrides.normalize(sys.argv[1:])
run_folder.name_runs(sys.argv[1:])
main()
"""


def children() -> float:
    """Returns the processor time of the processes that have ended: others use the machine, too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stub.py").write_text(STUB)
        (folder / "only_hydra.py").write_text(HYDRA)

        def seconds(*command: str, jobs: int = count) -> float:
            typed = ["-m", "workflow._target_=stub.Stub", f"workflow.number=range({jobs})", "plotters=false"]
            began = children()
            subprocess.run([sys.executable, *command, *typed], cwd=folder, stdout=subprocess.DEVNULL, check=True)
            return children() - began

        hydra = seconds("only_hydra.py", "hydra/sweeper=basic", "hydra.sweep.dir=hydra")
        ours = seconds("-m", "runner", "hydra.sweep.dir=ours")
        again = seconds("-m", "runner", "sweep=ours")
        started = seconds("-m", "runner", "hydra.sweep.dir=one", jobs=1)
        with (folder / "ours" / "sweep.csv").open() as file:
            listed = len(list(csv.DictReader(file)))
        report = (folder / "ours" / "report.html").stat().st_size
    rows = [("Hydra's own", hydra), ("veles-run", ours), ("going on, all done", again), ("one job", started)]
    print_table(f"{count} jobs", ("what", "processor time, s"), [(what, f"{spent:.1f}") for what, spent in rows])
    print(f"\na job over Hydra's own, ms: {verdict(1000 * (ours - hydra) / count, 20)}")
    print(f"rows in sweep.csv: {listed}; report.html: {report / 1e6:.1f} MB")
    print(f"going on with {JOBS} jobs that are done, s: {verdict(started + (again - started) * JOBS / count, 30)}")


if __name__ == "__main__":
    main()
