"""How a minibatch is cut into shards."""

from __future__ import annotations


def rows_of(shard: int, samples: int, shards: int) -> slice:
    """Returns the rows of one shard; the first shards may have one row more. With fewer samples than shards, some are empty.

    Args:
        shard: which, from 0.
        samples: rows in the minibatch.
        shards: how many shards there are.
    """
    size, longer = divmod(samples, shards)
    begin = shard * size + min(shard, longer)
    return slice(begin, begin + size + (shard < longer))
