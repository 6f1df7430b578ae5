"""Start-up of `veles-run --help` against the smallest Hydra application, and of a short run against the import of torch.

python -m benchmarks.startup
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turns, print_table, verdict

HELLO = """
import hydra

@hydra.main(version_base=None, config_path=None)
def main(config):
    print("hello")

main()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder, "hello.py")
        hello.write_text(HELLO)

        # An installed program is compiled once, here by the round of warm-up, whatever this environment says.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

        def start(*command: str) -> None:
            subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=True)

        times = in_turns(
            {"veles-run": lambda: start("-m", "runner", "--help"), "Hydra hello": lambda: start(str(hello), "--help")}, 10
        )
        run = ("-m", "runner", "mnist_small", "decision.max_epochs=1")
        short = in_turns(
            {
                "veles-run": lambda: start(*run),
                "without pictures": lambda: start(*run, "plotters=false"),
                "import torch": lambda: start("-c", "import torch"),
            },
            10,
        )
    print_table("--help, whole process", ("what", "s"), [(name, f"{spent:.3f}") for name, spent in times.items()])
    print(f"\nveles-run / Hydra hello: {verdict(times['veles-run'] / times['Hydra hello'], 2.5)}")
    print_table(
        "conf=mnist_small, one epoch, whole process", ("what", "s"), [(name, f"{spent:.3f}") for name, spent in short.items()]
    )
    print(f"\nveles-run / import torch: {verdict(short['veles-run'] / short['import torch'], 1.4)}")


if __name__ == "__main__":
    main()
