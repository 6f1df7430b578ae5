"""Reading tables beside pandas, and images beside pillow and numpy.

python -m benchmarks.tables
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import in_turns, print_table, verdict

ROUNDS = 5


def write_long(path: Path) -> None:
    import pandas

    numbers = np.random.default_rng(1)
    frame = pandas.DataFrame(numbers.normal(size=(1_000_000, 16)).round(5))
    frame["label"] = np.array(["ant", "bee", "cat"])[numbers.integers(3, size=len(frame))]
    frame.columns = [f"c{number}" for number in range(17)]
    frame.to_csv(path, index=False)


def write_wide(path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(20, 30_000)).round(4)
    lines = [",".join(f"c{number}" for number in range(30_000)), *(",".join(map(str, row.tolist())) for row in rows)]
    path.write_text("\n".join(lines))


def write_images(folder: Path) -> None:
    from PIL import Image

    numbers = np.random.default_rng(1)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(2_500):
            Image.fromarray(numbers.integers(256, size=(32, 32, 3)).astype(np.uint8)).save(folder / name / f"{number}.png")


def table_by_runner(path: Path) -> None:
    from runner.datasets import tables

    tables.load("loader.data_file", str(path))


def table_by_pandas(path: Path) -> None:
    import pandas

    pandas.read_csv(path)


def images_by_runner(folder: Path) -> None:
    from runner.datasets import image_files

    found = image_files.find("loader.data_dir", str(folder))
    image_files.load(found, list(found))


def images_by_pillow(folder: Path) -> None:
    from PIL import Image

    np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*/*.png"))])


READERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], Callable[[Path], None], float]] = {
    "CSV, 1,000,000 x 17": (write_long, table_by_runner, table_by_pandas, 3),
    "CSV, 20 x 30,000": (write_wide, table_by_runner, table_by_pandas, 3),
    "5,000 PNGs of 32 x 32": (write_images, images_by_runner, images_by_pillow, 1),
}
"""For each kind of data what writes it, what reads it here and elsewhere, and how many times as long it may take."""


def peak(kind: str, side: int, path: Path) -> float:
    """Returns by how many MB a process of its own grows."""
    command = [sys.executable, "-m", "benchmarks.tables", kind, str(side), str(path)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def grown(kind: str, side: int, path: Path) -> float:
    import pandas  # noqa: F401
    import pyarrow.csv  # noqa: F401

    from runner.datasets import image_files, tables  # noqa: F401

    before = highest()
    READERS[kind][side](path)
    return highest() - before


def highest() -> float:
    """Returns the most memory that this process has had, in MB; unlike getrusage's figure it is not the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    rows, verdicts = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, (write, ours, theirs, target)) in enumerate(READERS.items()):
            path = Path(folder, f"{number}.csv" if "CSV" in kind else str(number))
            write(path)
            times = in_turns({"ours": lambda p=path, f=ours: f(p), "theirs": lambda p=path, f=theirs: f(p)}, ROUNDS)  # type: ignore[misc]
            memory = [peak(kind, side, path) for side in (1, 2)]
            rows.append((kind, *(f"{spent:.2f}" for spent in times.values()), *(f"{grown:.0f}" for grown in memory)))
            verdicts.append(f"{kind}: time {verdict(times['ours'] / times['theirs'], target)}")
            if number == 0:  # the others are too small to show in the peak of a process
                verdicts.append(f"{kind}: memory {verdict(memory[0] / memory[1], 1)}")
    print_table("Reading data", ("what", "s", "s, pandas or pillow", "MB", "MB, pandas or pillow"), rows)
    print("", *verdicts, sep="\n")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(grown(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
    else:
        main()
