"""What the processes of `tests.forked` are forked from: all is imported, and left alone by the collector of garbage."""

import gc

import sklearn.datasets  # which the confs for wine and digits import
import torch._dynamo  # which torch imports with the first optimizer
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf.grammar_parser import parse

import runner.__main__
import tests.forked
from runner.cli import hydra_app, job, run
from runner.cli.shelf import app

__all__ = ["app", "job", "run", "runner", "sklearn", "tests", "torch"]

# The parsers learn their grammars from what they read, and a run reads all of this.
OverridesParser.create().parse_overrides(["a=b", "+a.b=c/d.e", "a={b: 1, c: [2.5, null, true]}", "a='b c'", "a=${b:c}", "~a"])
parse("${a:b,1}/${now:%Y-%m-%d}${.a.b[0]}")
hydra_app.store_schema()

gc.collect()
gc.freeze()  # else each collection in a run looks through all modules, which a process of its own would not have copied
