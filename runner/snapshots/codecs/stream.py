"""Decodes a stream of members, or cuts it into members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from runner.errors import SnapshotDamagedError
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.codecs.codec import Codec
from runner.snapshots.codecs.decoders import Decoder
from runner.snapshots.codecs.libraries import decoding_errors

PIECE = 4 << 20
"""Bytes to request from a decoder at a time."""


class IncompleteMemberError(SnapshotDamagedError):
    """The data end within a member."""


def decode(codec: Codec, blocks: Iterable[bytes], budget: Budget | None = None) -> Iterator[bytes]:
    """Decodes concatenated members strictly. Zero bytes after a member are skipped: tar and dd fill the last block with them.

    Args:
        codec: the codec of the members.
        blocks: the encoded stream, cut anywhere.
        budget: the limit on the decoded size.

    Raises:
        SnapshotDamagedError: a member is damaged or incomplete, or something other than a member follows.
        SnapshotRefusedError: the stream decodes to more than the budget allows.
    """
    budget = budget or Budget()
    decoder: Decoder | None = None
    for data in blocks:
        if decoder is None and not codec.endless:
            data = data.lstrip(b"\0")
        while data or (decoder is not None and not decoder.needs_input):
            decoder = decoder or codec.decoder()
            try:
                plain = decoder.decompress(data, PIECE)
            except decoding_errors() as error:
                raise SnapshotDamagedError(f"it is damaged: {codec.name} says {error}") from error
            rest = decoder.unused_data if decoder.eof else b""
            budget.spend(len(data) - len(rest), len(plain))
            data, decoder = (rest.lstrip(b"\0"), None) if decoder.eof else (rest, decoder)
            if plain:
                yield plain
    if decoder is not None:
        raise IncompleteMemberError(f"it is truncated within a member of {codec.name}")


def unpadded(codec: Codec, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Drops the zero bytes at the end of an encoded snapshot whose codec cannot tell where a member ends.

    The stream of such a codec ends with the last byte of the snapshot, which is not zero.
    """
    if not codec.endless:
        yield from blocks
        return
    zeros = 0
    for block in blocks:
        content = block.rstrip(b"\0")
        if content:
            while zeros:
                yield bytes(size := min(zeros, PIECE))
                zeros -= size
            yield content
        zeros += len(block) - len(content)


def members(codec: Codec, blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cuts an encoded stream where members begin, so that they can be decoded in parallel; each piece comes as its blocks.

    Every member begins with the same few bytes as the first. These bytes may also occur within a member, if the state holds
    data of the same codec; such a member continues in the next piece. A single member, made by another tool, is not cut.
    """
    blocks = iter(blocks)
    start = next(blocks, b"")
    while len(start) < codec.prefix and (block := next(blocks, b"")):
        start += block
    if not codec.prefix or len(start) < codec.prefix:
        yield from ([block] for block in chain([start], blocks))
        return
    prefix, around = start[: codec.prefix], codec.prefix - 1
    piece, end = [prefix], b""  # the end of what the piece has, apart from the prefix: the next may begin in it
    for block in chain([start[codec.prefix :]], blocks):
        begin = 0
        if (found := (end + block[:around]).find(prefix)) >= 0:
            whole = b"".join(piece)
            begin = found + codec.prefix - len(end)
            yield [whole[: len(whole) + found - len(end)]]
            piece, end = [prefix], b""
        while (found := block.find(prefix, begin)) >= 0:
            yield [*piece, block[begin:found]]
            piece, end, begin = [prefix], b"", found + codec.prefix
        rest = block[begin:] if begin else block
        piece.append(rest)
        end = (end + rest[-around:])[-around:]
    yield piece
