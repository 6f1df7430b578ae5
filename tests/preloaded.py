"""What the processes of `tests.forked` are forked from: all is imported, and left alone by the collector of garbage."""

import gc

import torch._dynamo  # which torch imports with the first optimizer

import tests.forked
from runner.cli import job, run
from runner.cli.shelf import app

__all__ = ["app", "job", "run", "tests", "torch"]

gc.collect()
gc.freeze()  # else each collection in a run looks through all modules, which a process of its own would not have copied
