"""The codecs: one row each, both directions.

A snapshot is cut in chunks, and each becomes an independent member of the codec's own format. Members may be
concatenated in all of these formats, so standard tools read the file, and chunks are compressed in parallel.
"""

from runner.snapshots.codecs.codec import Buffer, Codec
from runner.snapshots.codecs.stream import IncompleteMemberError, decode, members
from runner.snapshots.codecs.table import CODECS, detect, find

__all__ = ["CODECS", "Buffer", "Codec", "IncompleteMemberError", "decode", "detect", "find", "members"]
