"""A row of the table of codecs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.snapshots.codecs.decoders import Decoder

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A row of the table.

    Attributes:
        name: the name in `snapshotter.compression`.
        magic: the first bytes of every member.
        prefix: length of the prefix that all full members share; 0 if a stream cannot be cut into members.
        levels: the valid levels; empty if the codec has none.
        default_level: the best trade-off: higher levels take much longer and gain little on weights.
        encode: encodes a chunk as one member.
        decoder: makes a decoder for one member.
        endless: whether only the end of the data ends the last member.
        smallest: minimum number of bytes worth a member and a thread of their own.
    """

    name: str
    magic: bytes
    prefix: int
    levels: range
    default_level: int
    encode: Callable[[Buffer, int], Buffer]
    decoder: Callable[[], Decoder]
    endless: bool = False
    smallest: int = 1 << 18

    @property
    def extension(self) -> str:
        """The file name extension: `.pickle.gz`, or just `.pickle` for `none`."""
        return ".pickle" if self.name == "none" else f".pickle.{self.name}"

    def check_level(self, level: int | None, key: str = "snapshotter.compression_level") -> int:
        """Returns the level to use.

        Args:
            level: as it was typed.
            key: what it was typed for, for the message.

        Raises:
            ConfigError: the codec does not have that level.
        """
        if level is None:
            return self.default_level
        if level not in self.levels:
            takes = f"{self.levels[0]} to {self.levels[-1]}" if self.levels else "none"
            raise ConfigError(f"{key}={level} is not a level of {self.name!r}, which takes {takes}")
        return level
