"""Start-up of `veles-run --help` against the smallest Hydra application.

python -m benchmarks.startup
"""

from __future__ import annotations

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

        def start(*command: str) -> None:
            subprocess.run([sys.executable, *command, "--help"], cwd=folder, capture_output=True, check=True)

        times = in_turns({"veles-run": lambda: start("-m", "runner"), "Hydra hello": lambda: start(str(hello))}, 10)
    print_table("--help, whole process", ("what", "s"), [(name, f"{spent:.3f}") for name, spent in times.items()])
    print(f"\nveles-run / Hydra hello: {verdict(times['veles-run'] / times['Hydra hello'], 2.5)}")


if __name__ == "__main__":
    main()
