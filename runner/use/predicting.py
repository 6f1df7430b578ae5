"""Predictions of new data, some at a time: the memory that it takes does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from runner.errors import ConfigError
from runner.nn.inference.model import Network
from runner.nn.loading.samples import Array
from runner.use.sources import Block, Source


@dataclass
class Tally:
    """How a pass over data has gone so far.

    Attributes:
        made: samples that were predicted.
        failed: those that could not be read.
        not_finite: those of `made` for which the network gives infinite numbers, or none.
        done: the share of the data that is done, about.
        told: is given what is wrong with a sample.
    """

    made: int = 0
    failed: int = 0
    not_finite: int = 0
    done: float = 0.0
    told: Callable[[str], None] = field(default_factory=lambda: _silent)


def _silent(text: str) -> None:
    """Says nothing."""


def predictions(model: Network, source: Source, size: int, tally: Tally) -> Iterator[tuple[Block, Array]]:
    """Yields blocks of data with what the network gives for their samples, of shape (samples, *output_shape).

    Data that end in the middle are told of, and what came before them is done.

    Args:
        model: the network.
        source: the data.
        size: samples that the network gets at once.
        tally: is kept up to date, and told what is wrong.
    """
    device = next((value.device for value in model.state_dict().values()), torch.device("cpu"))
    blocks, begun = source.blocks(), False
    while True:
        try:
            block = next(blocks, None)
        except ConfigError as error:
            if not begun:
                raise
            tally.told(str(error))
            tally.failed += 1
            return
        if block is None:
            return
        begun = True
        for text in block.wrong:
            tally.told(text)
        with torch.inference_mode():
            parts = [model(as_tensor(part).to(device)).cpu().numpy() for part in _parts(block.samples.data, size)]
        outputs = np.concatenate(parts) if parts else np.empty((0, *model.signature.output_shape), np.float32)
        for text in _not_finite(source, block, outputs, tally.made + tally.failed):
            tally.told(text)
            tally.not_finite += 1
        tally.made += len(outputs)
        tally.failed += block.count - len(outputs)
        tally.done = block.done
        yield block, outputs


def _not_finite(source: Source, block: Block, outputs: Array, before: int) -> Iterator[str]:
    """Says which samples of a block have outputs that are no finite numbers.

    Args:
        source: the data.
        block: some of them.
        outputs: what the network gives for those of them that could be read.
        before: how many samples were before the block.
    """
    finite = np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim)))
    for row in map(int, np.flatnonzero(~finite)):
        name = f"sample {before + int(block.places[row])}" if block.names is None else repr(block.names[row])
        yield f"{source.origin}: the network gives no finite number for {name}"


def _parts(data: Array, size: int) -> Iterator[Array]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


def as_tensor(data: Array) -> torch.Tensor:
    """Returns samples as torch has them, which does not know all types of numpy."""
    if data.dtype.kind == "u" and data.dtype.itemsize > 1:
        data = data.astype(np.int64)
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        data = data.astype(np.float64)
    native = data.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(data, native, ["C", "W"]))


def at_their_places(block: Block, outputs: Array) -> Array:
    """Returns outputs with a row for each sample of the block: those that could not be read are NaN."""
    whole = np.full((block.count, *outputs.shape[1:]), np.nan, outputs.dtype)
    whole[block.places] = outputs
    return whole
