"""The table of codecs."""

from __future__ import annotations

import bz2
import lzma

from runner.checks import choices
from runner.errors import ConfigError, SnapshotDamagedError
from runner.snapshots.codecs import decoders, encoders
from runner.snapshots.codecs.codec import Codec
from runner.snapshots.codecs.stream import PIECE

CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            name="none",
            magic=b"\x80",
            prefix=0,
            levels=range(0),
            default_level=0,
            encode=lambda chunk, level: chunk,
            decoder=decoders.PlainDecoder,
            endless=True,
            smallest=PIECE,
        ),
        Codec(
            name="snappy",
            magic=b"\xff\x06\x00\x00sNaPpY",
            prefix=10,
            levels=range(0),
            default_level=0,
            encode=encoders.snappy,
            decoder=decoders.SnappyDecoder,
            endless=True,
            smallest=PIECE,
        ),
        Codec(
            name="gz",
            magic=b"\x1f\x8b",
            prefix=10,
            levels=range(1, 10),
            default_level=1,
            encode=encoders.gzip,
            decoder=decoders.GzipDecoder,
            smallest=1 << 20,
        ),
        Codec(
            name="bz2",
            magic=b"BZh",
            prefix=10,
            levels=range(1, 10),
            default_level=9,
            encode=lambda chunk, level: bz2.compress(chunk, level),
            decoder=bz2.BZ2Decompressor,
        ),
        Codec(
            name="xz",
            magic=b"\xfd7zXZ\x00",
            prefix=12,
            levels=range(10),
            default_level=0,
            encode=lambda chunk, level: lzma.compress(chunk, check=lzma.CHECK_CRC64, preset=level),
            decoder=lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 28),
        ),
        Codec(
            name="zst",
            magic=b"\x28\xb5\x2f\xfd",
            prefix=9,
            levels=range(1, 23),
            default_level=1,
            encode=encoders.zstd,
            decoder=decoders.ZstdDecoder,
        ),
    )
}
"""The codecs by their names in the configuration."""


def find(name: str | None, key: str = "snapshotter.compression") -> Codec:
    """Returns a codec by name. An empty name and None mean `none`, as in VELES.

    Args:
        name: as it was typed.
        key: what it was typed for, for the message.

    Raises:
        ConfigError: no codec has that name.
    """
    name = "none" if not name or name == "None" else name
    if name not in CODECS:
        raise ConfigError(f"{key}={name!r} is not a codec; {choices(name, CODECS)}")
    return CODECS[name]


def detect(start: bytes) -> Codec:
    """Returns the codec of an encoded stream by its first bytes.

    Raises:
        SnapshotDamagedError: no codec's members begin like this.
    """
    if not start:
        raise SnapshotDamagedError("it is empty")
    for codec in CODECS.values():
        if start.startswith(codec.magic):
            return codec
    raise SnapshotDamagedError(f"it is not a snapshot of veles-run: it begins with {start[:8]!r}")
