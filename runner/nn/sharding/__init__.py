"""Minibatches in shards: what makes the bits of a run independent of the number of its processes."""
