"""Kills and resumes runs of each kind of network, on a GPU if there is one, and compares with the same without interruption.

`python -m tests.stress.kill_kinds SEED COUNT` tries COUNT of the cases, beginning with number SEED. Each must end in the same
state and with the same metrics, byte for byte, whether it is interrupted or not. This process itself never looks at the GPU,
since a process that has cannot be forked.
"""

import gc
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.states import differences
from tests.stress.kill_training import EXAMPLES, Failure, interrupted_run, metrics_of, whole_run

KEYS = ("threads=1", "metrics.every=4", "plotters=false", "report=false")
SMALL = ("loader.train_size=600", "loader.validation_size=200")
# Of those for the CPU, the loss has no exact form on a GPU.
CASES = (
    ("mnist_small", *SMALL, "layers.fc1.gradient_momentum=0.5", "metrics.gradient_norm=true", "decision.max_epochs=8"),
    ("mnist_small", *SMALL, "optimizer=adamw", "ema=0.9", "decision.max_epochs=8"),
    ("mnist_small", *SMALL, "parallel.shards=8", "decision.max_epochs=8"),
    ("mnist_conv", *SMALL, "decision.max_epochs=4"),
    ("mnist_conv", *SMALL, "parallel.shards=4", "decision.max_epochs=4"),
    ("mnist_ae", *SMALL, "decision.max_epochs=4"),
    ("mnist_ae_fc", *SMALL, "decision.max_epochs=4"),
    ("wine", "decision.max_epochs=10"),
    ("digits", "decision.max_epochs=6"),
    ("resnet", "decision.max_epochs=4"),
    ("gan", "decision.max_epochs=4"),
    ("distilled", "decision.max_epochs=4"),
    ("contrasted", "decision.max_epochs=4"),
    ("parity", "decision.max_epochs=3"),
    ("sorting", "device=cpu", "decision.max_epochs=3"),
    ("weighted", "decision.max_epochs=6"),
    ("noisy", "decision.max_epochs=6"),
    ("spirals", "decision.max_epochs=6"),
    ("maxout", "decision.max_epochs=4"),
)


def tried(folder: Path, case: tuple[str, ...], rng: random.Random) -> int:
    """Runs one case, and the same with interruptions; returns how many there were."""
    for name in ("whole", "killed"):
        shutil.copytree(EXAMPLES, folder / name, ignore=shutil.ignore_patterns("outputs"))
    seed = rng.randrange(2**32)
    try:
        # The time of a first use of a GPU says nothing of the others.
        whole_run(folder / "whole", seed, KEYS, case)
        shutil.rmtree(folder / "whole" / "outputs")
        whole, seconds = whole_run(folder / "whole", seed, KEYS, case)
        state, kills = interrupted_run(folder / "killed", seed, KEYS, rng, 1.2 * seconds, 3, case)
    except Failure as error:
        said = [path.read_text()[-1000:] for path in folder.glob("*/output")]
        raise Failure(f"{case}, seed {seed}: {error}: {said}") from error
    if different := differences(whole, state):
        raise Failure(f"{case}, seed {seed}: {different}")
    if metrics_of(folder / "whole") != metrics_of(folder / "killed"):
        raise Failure(f"{case}, seed {seed}: other metrics")
    return kills


def main(seed: int, count: int) -> int:
    rng = random.Random(seed)
    sys.path.insert(0, str(EXAMPLES))
    # Asked so, torch leaves the GPU alone, and finds none here; the runs find theirs.
    os.environ |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "CUDA_VISIBLE_DEVICES": ""}
    os.register_at_fork(after_in_child=lambda: os.environ.pop("CUDA_VISIBLE_DEVICES"))
    gc.freeze()
    found = Counter(runs=0, kills=0)
    with tempfile.TemporaryDirectory() as name:
        for number in range(seed, seed + count):
            folder = Path(name, str(number))
            folder.mkdir()
            found["kills"] += tried(folder, CASES[number % len(CASES)], rng)
            found["runs"] += 1
    print(dict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
