"""The codecs: a table with one row per codec, for both directions.

A snapshot is cut into chunks, and each chunk becomes an independent member of the codec's own format. All of these formats
allow concatenated members, so standard tools can read the file, and chunks can be compressed in parallel.
"""

from runner.snapshots.codecs.codec import Buffer, Codec
from runner.snapshots.codecs.stream import IncompleteMemberError, decode, members, unpadded
from runner.snapshots.codecs.table import CODECS, detect, find

__all__ = ["CODECS", "Buffer", "Codec", "IncompleteMemberError", "decode", "detect", "find", "members", "unpadded"]
