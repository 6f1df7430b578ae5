"""What the processes of `tests.forked` are forked from: all is imported and read, and left alone by the garbage collector."""

import gc
import weakref
from functools import cache

import hydra._internal.logging_config
import omegaconf._impl
import sklearn.datasets  # which the confs for wine and digits import
import torch._dynamo  # which torch imports with the first optimizer
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from omegaconf.grammar_parser import parse

import runner.__main__
import tests.forked
from runner.cli import hydra_app, job, run, sweeps
from runner.cli.shelf import app
from runner.cli.starting import starters
from runner.datasets import mnist
from runner.report import write

__all__ = ["app", "hydra", "job", "omegaconf", "run", "runner", "sklearn", "starters", "sweeps", "tests", "torch", "write"]

# The parsers learn their grammars from what they read, and a run reads all of this.
OverridesParser.create().parse_overrides(["a=b", "+a.b=c/d.e", "a={b: 1, c: [2.5, null, true]}", "a='b c'", "a=${b:c}", "~a"])
parse("${a:b,1}/${now:%Y-%m-%d}${.a.b[0]}")
Plugins.instance()
hydra_app.store_schema()

# To unpack all of MNIST takes a third of a run on a few images of it. Nobody can change what is shared: arrays of bytes.
mnist.load = cache(mnist.load)
mnist.load()

for finalizer in list(weakref.finalize._registry):
    finalizer.atexit = False  # what torch registers at its import is taken apart with the process

gc.collect()
gc.freeze()  # else each collection in a run looks through all modules, which a process of its own would not have copied
