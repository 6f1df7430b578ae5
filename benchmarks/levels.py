"""What each codec's levels cost and gain on weights, one thread: python -m benchmarks.levels"""

from __future__ import annotations

import torch

from benchmarks.measure import in_turns, print_table
from runner.snapshots.capture.staging import CHUNK
from runner.snapshots.codecs import CODECS

LEVELS = {"none": [0], "snappy": [0], "gz": [1, 2, 3, 4, 6, 9], "bz2": [1, 5, 9], "xz": [0, 1, 3, 6], "zst": [1, 3, 6, 9, 15]}
MEGABYTES = 26


def main() -> None:
    torch.manual_seed(1)
    data = torch.empty(MEGABYTES * 250_000).normal_(0, 0.05).numpy().tobytes()
    chunks = [bytearray(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]
    rows = []
    for name, levels in LEVELS.items():
        codec = CODECS[name]
        for level in levels:
            sizes = [len(codec.encode(chunk, level)) for chunk in chunks]

            def encode(codec=codec, level=level) -> None:
                for chunk in chunks:
                    codec.encode(chunk, level)

            spent = in_turns({"encode": encode}, 1)["encode"]
            mark = " (default)" if level == codec.default_level else ""
            rows.append((name, f"{level}{mark}", f"{MEGABYTES / spent:.0f}", f"{100 * sum(sizes) / len(data):.1f} %"))
    print_table("Codecs and levels", ("codec", "level", "MB/s, one thread", "size"), rows)


if __name__ == "__main__":
    main()
