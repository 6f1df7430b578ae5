"""Makes a small data set in MNIST's format in the folder that is named."""

import struct
import sys
from pathlib import Path

import numpy

random = numpy.random.default_rng(1)
folder = Path(sys.argv[1])
folder.mkdir()
for name, count in {"train": 1000, "t10k": 500}.items():
    labels = (numpy.arange(count) % 10).astype(numpy.uint8)
    images = random.integers(0, 100, (count, 28, 28), dtype=numpy.uint8) + 15 * labels[:, None, None]
    (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes())
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels.tobytes())
