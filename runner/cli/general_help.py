"""`veles-run --help`: what can be typed, and the conf files that there are."""

from __future__ import annotations

from runner.cli import conf_files

_TEXT = """veles-run: runs a workflow from a conf file, and continues it from any of its snapshots, bit for bit.

  veles-run mnist                              run conf/mnist.yaml (also conf=mnist, or the path of a file)
  veles-run mnist decision.max_epochs=5        the same with a changed key
  veles-run mnist optimizer=adamw              the same with conf/optimizer/adamw.yaml
  veles-run mnist snapshot=FILE                continue from a snapshot
  veles-run snapshot=FILE                      the same (also --snapshot FILE, -w FILE); the conf comes from the snapshot
  veles-run mnist snapshot=latest              continue from the newest snapshot
  veles-run mnist seed=1 snapshot=auto         continue this very run, or start it: for jobs that are requeued
  veles-run mnist snapshot=FILE mode=evaluate  score a snapshot
  veles-run snapshot=FILE mode=predict data=new.csv output=out.csv   predict
  veles-run mnist snapshotter.odbc=DSN         keep the snapshots in a database
  veles-run -m mnist loader.minibatch_size=50,100   run one after the other
  veles-run -m mnist loader.minibatch_size=50,100 sweep=latest   go on with this sweep (also sweep=auto, sweep=FOLDER)
  torchrun --nproc_per_node=2 -m runner mnist parallel.shards=8   run in two processes, to the bits of one

  veles-run new NAME --from data.csv           write a conf for your data (also a folder of images, or MODULE:CLASS)
  veles-run examples                           copy the examples into ./examples
  veles-run import mnist_config.py             turn a configuration of VELES into a conf (each has its own --help)

  veles-snapshots --help                       list, compare, copy, export and delete snapshots

{groups}
  veles-run NAME --help          every key of a conf, with its type, its value there, and what it means
  veles-run NAME --cfg job       the same as YAML
  veles-run --version
  veles-run -m, --multirun       a sweep: a run for each of the values that are separated by commas
  veles-run NAME -q, --quiet     only warnings and errors are shown; the run's log has all
  veles-run NAME --no-color      no colors (also NO_COLOR=1)
  veles-run --hydra-help         what Hydra has beside this: folders, launchers, sweepers
  eval "$(veles-run -sc install=bash)"   confs, keys, values and paths are completed by Tab (also in zsh; install=fish)
"""


def text() -> str:
    """Returns the help. Hydra would compose a configuration for it, and a search of all its plugins for each group."""
    options = {group: conf_files.options(group) for group in [conf_files.CONF, *conf_files.groups(nested=True)]}
    return _TEXT.format(groups="".join(f"{group}: {', '.join(names)}\n" for group, names in options.items() if names))
