"""What snapshots cost a run."""

from __future__ import annotations

import statistics

from benchmarks.measure import print_table, seconds, verdict
from benchmarks.snapshots.states import folder

EPOCHS = 5


def effect(rounds: int) -> None:
    """Epoch time of MNIST with a snapshot every epoch, against none."""
    times: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(rounds + 1):
        with folder() as path:
            times["with"].append(epoch({"directory": path}))
            assert len(list(path.glob("mnist_validation_*"))) == EPOCHS
        times["without"].append(epoch())
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    print_table("MNIST epoch, a snapshot every epoch", ("snapshots", "s"), [(name, f"{m:.3f}") for name, m in medians.items()])
    print(f"\nwith / without: {verdict(medians['with'] / medians['without'], 1.05)}")


def epoch(snapshotter: dict[str, object] | None = None) -> float:
    """Returns the seconds of an epoch in a run of five: the error falls in each, so that each is worth a snapshot."""
    from runner.nn import StandardWorkflow

    layers = {
        "fc1": {"type": "all2all_tanh", "output_sample_shape": 100, "learning_rate": 0.03},
        "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": 0.03},
    }
    loader = {"loader_name": "mnist", "loader_config": {"minibatch_size": 60}}
    workflow = StandardWorkflow(
        "mnist", seed=1, layers=layers, decision_config={"max_epochs": EPOCHS}, snapshotter_config=snapshotter, **loader
    )
    workflow.initialize()
    return seconds(workflow.run) / EPOCHS
