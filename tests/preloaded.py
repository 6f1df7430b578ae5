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
OverridesParser.create().parse_overrides(
    [
        *("a=b", "a.b_c=1", "a.b.c=-2.5", "a=1e-3", "a=true", "a=null", "++a.b.c={d: 1, e: [2.5, null, true]}", "~a.b", "~a"),
        *("a='b c'", "a=${b:c}", "a=${b}", "a=b,c", "a=1,2.5", "a=[b,1]", "a=range(1,3)", "a=choice(b,1)", "a=interval(0.1,1)"),
        *("a=b_1-2.3", "a=./b/c", "a=/b/c-1/2026-11-24/11-24-19-1e6/b_c_1.48.5.pickle.gz", "+a.b=c://d:1/e", "a=a.b.c:d"),
    ]
)
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
