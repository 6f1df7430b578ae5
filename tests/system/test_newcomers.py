"""What somebody types who is new to the program: each mistake is one line that is enough to go on, and leaves no folder."""

from pathlib import Path

import pytest

from tests.conftest import Run

FILES = {
    "mine.py": """import torch


class Broken(torch.nn.Module):
    def __init__(self, size=3):
        super().__init__()
        self.weight = size.nothing


class Late(torch.nn.Module):
    def forward(self, x):
        if self.training:
            raise ValueError("several\\nlines")
        return x


class NotAModule:
    pass


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {}[index]


class Exits(torch.nn.Module):
    def forward(self, x): raise SystemExit(3)


class Interrupts(torch.nn.Module):
    def forward(self, x): raise KeyboardInterrupt
""",
    "leaves.py": "import sys\nsys.exit('needs python 4')\n",
    "flow.py": """from runner import Workflow


class Flow(Workflow):
    def __init__(self, size):
        super().__init__()
        self.end_point.link_form(self.start_point)
""",
    "needs.py": "\nimport not_installed\n",
    "typo.py": "class A:\n    def f(self)\n        pass\n",
    "words.csv": "a,b,label\n1,2,x\n3,four,y\n",
    "ragged.csv": "a,b,label\n1,2,x\n3,4\n",
    "empty.csv": "",
    "cut.parquet": "PAR1 and no more",
    "beside.yaml": "loader: {name: mnist}\n",
    "conf/indent.yaml": "loader:\n  name: mnist\n layers: {}\n",
    "conf/tab.yaml": "loader:\n\tname: mnist\n",
    "conf/octal.yaml": "loader:\n  minibatch_size: 020\n",
    "conf/unquoted.yaml": "loader: {train_size: ${seed}}\n",
    "conf/open.yaml": "loader: {name: mnist\n",
    "conf/twice.yaml": "loader: {name: mnist}\nloader: {name: wine}\n",
    "conf/text.yaml": "just text\n",
    "conf/items.yaml": "- a\n- b\n",
    "conf/empty.yaml": "",
    "conf/typo.yaml": "loader:\n  name: mnist\n  minibach_size: 5\n",
    "conf/scalar.yaml": "seed: 1\nloader: mnist\n",
    "conf/value.yaml": "seed: 1\ndecision:\n  max_epochs: five\n",
    "conf/base.yaml": "defaults: [mnist_smal, _self_]\n",
    "conf/group.yaml": "defaults: [mnist_small, optimizer: adamz, _self_]\n",
    "conf/british.yaml": "defaults: [mnist_small, optimiser: adamw, _self_]\n",
    "conf/absolute.yaml": "defaults: [/mnist_small, _self_]\n",
    "conf/round.yaml": "defaults: [mnist_small, round, _self_]\n",
    "conf/dots.yaml": "seed: 1\nlayers: {}\nloader.name: mnist\n",
    "conf/alias.yaml": "layers: &a [*a]\n",
    "conf/short.yml": "seed: 1\n",
    "conf/.git/config.yaml": "seed: 1\n",
    "conf/refers.yaml": "defaults: [mnist_small, _self_]\ndecision: {max_epochs: '${nothing}'}\n",
    "conf/unset.yaml": "defaults: [mnist_small, _self_]\nlayers:\n  fc1:\n    learning_rate: ${oc.env:VELES_NO_SUCH}\n",
    "conf/circle.yaml": "defaults: [mnist_small, _self_]\nloader:\n  minibatch_size: ${loader.minibatch_size}\n",
    "conf/half.yaml": "defaults: [mnist_small, _self_]\nloader:\n  minibatch_size: ${oops\n",
    "conf/resolver.yaml": "defaults: [mnist_small, _self_]\nmode: ${no.such:1}\n",
    "conf/inherits.yaml": "defaults: [refers, _self_]\nseed: 1\n",
    "conf/optimizer/mine.yaml": "_target_: torch.optim.SGD\nlr: ${rate}\n",
    "conf/listed.yaml": "loader: {name: wine}\nlayers:\n- {type: softmax, learning_rate: '${rate}'}\n",
    "conf/zero.yaml": "defaults: [mnist_small, _self_]\ndecision:\n  fail_iterations: 3\n  max_epochs: 0\n",
    "conf/number.yaml": "defaults: [mnist_small, _self_]\n5: 6\n",
    "conf/truth.yaml": "defaults: [mnist_small, _self_]\nloader: {true: 2}\n",
    "conf/nothing.yaml": "seed: 1\nnull: 2\n",
    "conf/unset_section.yaml": "seed: 1\nloader:\n",
    "conf/one.yaml": "defaults: [mnist_small, _self_]\nloader: {categories: zip}\n",
    "conf/tracker.yaml": "loggers:\n  mlflow: here\n",
    "conf/nolist.yaml": "defaults: mnist_small\n",
    "conf/latin.yaml": "caf\udce9: 1\n",
    "conf/five.yaml": "layers: 5\n",
    "conf/hollow.yaml": "loader: {name: images, data_dir: ''}\nlayers: {out: {type: softmax}}\n",
    "conf/home.yaml": "loader: {name: table, data_file: ~/a.csv, label: label}\nlayers: {out: {type: softmax}}\n",
    "conf/launcher.yaml": "defaults: [mnist_small, hydra/launcher: basic, _self_]\n",
    "conf/numbers.yaml": "loader: {name: dataset, train: {_target_: mine.Numbers}}\n"
    "layers: {out: {type: softmax, output_sample_shape: 10}}\n",
    "conf/exits.yaml": "loader: {name: mnist, train_size: 600}\nlayers: {x: {_target_: mine.Exits}, out: {type: softmax}}\n",
    "conf/interrupts.yaml": "loader: {name: mnist, train_size: 600}\n"
    "layers: {x: {_target_: mine.Interrupts}, out: {type: softmax}}\n",
    "conf/late.yaml": "loader: {name: mnist, train_size: 600}\n"
    "layers: {x: {_target_: mine.Late}, out: {type: softmax, output_sample_shape: 10}}\n",
}

JOBLIB = "hydra/launcher=joblib"
SMALL = "mnist_small"
TABLE = (SMALL, "loader.name=table", "loader.label=label")
CASES = {
    # names
    (): "known: ",
    ("mnist_smal",): "did you mean 'mnist_small'",
    ("no/such.yaml",): "there is no file 'no/such.yaml'",
    ("mnist", "wine"): "conf is given 2 times (conf=mnist, conf=wine): give one",
    ("conf", "mnist"): "conf needs a value: conf=VALUE",
    ("conf", "=", "mnist"): "conf needs a value: conf=VALUE",
    ("x.pickle.gz",): "snapshot=x.pickle.gz",
    # keys
    (SMALL, "decision.max_epochs:5"): "decision.max_epochs=VALUE",
    (SMALL, "decision.max_epochs", "5"): "decision.max_epochs needs a value: decision.max_epochs=VALUE",
    (SMALL, "--epochs", "5"): "--epochs: a key is typed as KEY=VALUE, without dashes, such as decision.max_epochs=N;",
    (SMALL, "--resume"): "without dashes, such as snapshot=latest;",
    (SMALL, "--decision.max_epochs=5"): "a key is typed as KEY=VALUE, without dashes",
    (SMALL, "epochs=5"): "did you mean 'decision.max_epochs'",
    (SMALL, "decision.max_epoch=5"): "did you mean 'max_epochs'",
    (SMALL, "decison.max_epochs=5"): "did you mean 'decision",
    ("root.mnist.decision.max_epochs=5",): "'root' is not a key",
    (SMALL, "layers.fc1.lerning_rate=0.1"): "did you mean 'learning_rate'",
    (SMALL, "layers.fc2.learning_rate=0.1"): "did you mean 'fc1'",
    (SMALL, "layer_defaults.learning_rate=0.1"): "layer_defaults.learning_rate changes nothing",
    (SMALL, "layer_defaults.lerning_rate=0.1"): "layer_defaults.lerning_rate changes nothing",
    # values
    (SMALL, "decision.max_epochs=five"): "decision.max_epochs=five; Value 'five'",
    (SMALL, "decision.max_epochs=1.5"): "decision.max_epochs=1.5; Value '1.5'",
    (SMALL, "decision.max_epochs="): "decision.max_epochs=; Value ''",
    (SMALL, "decision.max_epochs=0"): "decision.max_epochs=0 must be at least 1",
    (SMALL, "decision.max_epochs=1,2"): "decision.max_epochs=1,2 has several values: --multirun runs each of them",
    (SMALL, "layers.fc1.learning_rate=0,1"): "layers.fc1.learning_rate=0,1 has several values: --multirun",
    (SMALL, "decision=5"): "decision=5: decision is a section with keys of its own: decision.KEY=VALUE",
    (SMALL, "decision=null"): "decision=null: decision is a section",
    (SMALL, "loader.categories=zip"): "loader.categories is a list: loader.categories=[zip]",
    (SMALL, "mode=evaluate", "snapshot=latest", "data="): "data= is empty: type data=VALUE, or leave it out",
    ("hollow",): "loader.data_dir is empty, and must name a folder",
    (SMALL, "scores=x"): "veles-run: scores=x: scores is a section",
    (SMALL, "layer_defaults=5"): "veles-run: layer_defaults=5: layer_defaults is a section",
    (SMALL, "layers.fc1.learning_rate=null"): "layers.fc1.learning_rate needs a value, and null is none",
    (SMALL, "layers.new.type=all2all"): "layers.new: output_sample_shape is missing",
    ("launcher",): "hydra/launcher is chosen twice in defaults lists",
    (SMALL, "~loader.validation_file"): "loader.validation_file is not set",
    (SMALL, "~loader.name"): "loader.name always has a value, so it cannot be taken away",
    (SMALL, "lr_adjuster.policy=exp", "lr_adjuster.gamma=inf"): "lr_adjuster.gamma=inf must be between",
    (SMALL, "snapshotter.directory=words.csv/a"): "snapshotter.directory='words.csv/a' is not a folder: 'words.csv' is a file",
    (SMALL, "snapshotter.directory=~/a"): "snapshotter.directory='~/a' begins with ~",
    (SMALL, "hydra.run.dir=~/a"): "hydra.run.dir='~/a' begins with ~",
    (SMALL, "+hydra.foo=1"): "'hydra.foo' is not a key of Hydra's; known: callbacks",
    (SMALL, "++hydra.jobs.chdir=true"): "'hydra.jobs.chdir' is not a key of Hydra's; did you mean 'job'",
    (SMALL, "graph=~/a.dot"): "graph='~/a.dot' begins with ~",
    ("~/a.yaml",): "'~/a.yaml' begins with ~",
    ("home",): "loader.data_file='~/a.csv' is not a file: only a shell puts a folder for ~",
    ("-m", SMALL, "seed=1,2", "hydra/launcher=jobs"): "hydra/launcher=jobs is not known; did you mean 'joblib'?",
    ("-m", SMALL, "seed=1,2", "hydra/launcher=joblibb"): "hydra/launcher=joblibb is not known; did you mean 'joblib'?",
    ("-m", SMALL, "seed=1,2", JOBLIB, "hydra.launcher.backend=foo"): "hydra.launcher.backend=foo changes nothing: jobs of",
    ("-m", SMALL, "seed=1,2", JOBLIB, "hydra.launcher.n_jobs=0"): "hydra.launcher.n_jobs=0 runs no job",
    ("-m", SMALL, "optimizer=glob(x*)"): "optimizer=glob(x*) chooses no option",
    (SMALL, "loader.image_size=8"): "loader.image_size is a list: loader.image_size=[HEIGHT,WIDTH]",
    (SMALL, "--config-path", "conf"): "--config-path is not for veles-run",
    (SMALL, "--config-dir", "conf"): "--config-dir is not for veles-run",
    (SMALL, "hydra.job.name=../x"): "hydra.job.name='../x' is the name of the run's log",
    (SMALL, "--experimental-rerun", "x.pickle"): "--experimental-rerun is not for veles-run: snapshot=FILE",
    (SMALL, "--package", "loader"): "--package=loader is for --cfg job",
    (SMALL, "snapshotter.prefix=a/b"): "snapshotter.prefix='a/b' begins the names of files, which have no slashes",
    (SMALL, "snapshotter.prefix=${workflow.name}x"): "snapshotter.prefix holds ${workflow.name}, which is null",
    (SMALL, "snapshotter.odbc=DSN=${workflow.name}"): "snapshotter.odbc holds ${workflow.name}, which is null",
    (SMALL, "optimizer=sgd", "optimizer.lr=1e400"): "optimizer.lr=inf must be between 0 and",
    (SMALL, "optimizer=sgd", "optimizer.lr=nan"): "optimizer.lr=nan must be between 0 and",
    (*TABLE, "loader.data_file=words.csv", "loader.columns=[]"): "loader.columns=[] names no column",
    ("short",): "conf/short.yml is called with its ending: veles-run short.yml",
    ("refers",): "decision.max_epochs: Interpolation key 'nothing' not found (conf/refers.yaml:2)",
    ("unset",): "Environment variable 'VELES_NO_SUCH' not found\" (conf/unset.yaml:4)",
    ("circle",): "loader.minibatch_size: Recursive interpolation detected (conf/circle.yaml:3)",
    ("half",): "veles-run: conf/half.yaml:3:19: '${oops' is not a reference",
    ("resolver",): "mode: Unsupported interpolation type no.such (conf/resolver.yaml:2)",
    ("inherits",): "(conf/refers.yaml:2)",
    (SMALL, "optimizer=mine"): "optimizer.lr: Interpolation key 'rate' not found (conf/optimizer/mine.yaml:2)",
    ("listed",): "not found (conf/listed.yaml:2)",
    ("zero",): "decision.max_epochs=0 must be at least 1 (epochs) (conf/zero.yaml:4)",
    ("zero", "decision.max_epochs=${nothing}"): "decision.max_epochs: Interpolation key 'nothing' not found",
    (SMALL, "layers.fc1.learning_rate=fast"): "layers.fc1.learning_rate='fast' is wrong",
    (SMALL, "layers.fc1.type=dense"): "layers.fc1.type='dense' is not a type of layer",
    (SMALL, "layers.out.output_sample_shape=5"): "the labels go up to 9",
    (SMALL, "~layers"): "layers is empty",
    (SMALL, "loader.name=cifar"): "did you mean 'cifar10'",
    (SMALL, "loader.normalization=lineal"): "did you mean 'linear'",
    (SMALL, "loss_function=mae"): "expected one of [softmax, mse]",
    (SMALL, "device=gpu"): "known: auto, cpu, cuda, cuda:N",
    (SMALL, "device=cuda:99"): "this machine has",
    (SMALL, "seed=abc"): "seed=abc",
    (SMALL, "snapshotter.compression=zip"): "known: bz2, gz",
    (SMALL, "graph=x.bmp"): "known: .dot",
    (SMALL, "conf=true"): "conf is given 2 times",
    ("beside",): "beside.yaml of this folder is called with its ending: veles-run beside.yaml",
    ("conf=true",): "conf=true is not known",
    ("conf=null",): "conf=null is not known",
    ("conf=1.5",): "conf=1.5 is not known",
    (SMALL, "restore.trust=full"): "restore.trust is for a snapshot that is restored, and there is none",
    (SMALL, "snapshotter.table=runs"): "snapshotter.table changes nothing without snapshotter.odbc",
    ("wine", "loader._target_=own.Loader", "loader.name=wine"): "loader.name changes nothing beside loader._target_",
    ("wine", "loader.kind=3"): "'loader.kind' is not a key; a class of your own is given loader.arguments.kind",
    (SMALL, "snapshotter.directory=d", "snapshotter.odbc=DSN=x"): "snapshotter.directory changes nothing beside",
    (SMALL, "rollback.lr_minus=0.5"): "rollback.lr_minus changes nothing without rollback.fail_iterations",
    (SMALL, "lr_adjuster.by_minibatch=true"): "lr_adjuster.by_minibatch changes nothing without lr_adjuster.policy",
    (SMALL, "snapshotter.at_most_lost=null", "snapshotter.max_overhead=0.1"): "snapshotter.max_overhead changes nothing",
    (SMALL, "lr_adjuster={by_minibatch: true}"): "lr_adjuster.by_minibatch changes nothing without lr_adjuster.policy",
    (SMALL, "optimizer=adamw", "layers.fc1={learning_rate: 0.1}"): "layers.fc1.learning_rate has no meaning beside",
    (SMALL, "freeze=[fc1.*]", "layers.fc1.weights_decay=0.1"): "layers.fc1.weights_decay changes nothing: freeze keeps",
    (SMALL, "freeze=['*.bias']", "layer_defaults.learning_rate_bias=0.1"): "learning_rate_bias changes nothing: freeze keeps",
    (SMALL, "layers.fc1.l1_vs_l2=0.5"): "layers.fc1.l1_vs_l2 changes nothing: the weights do not decay",
    (SMALL, "layer_defaults.l1_vs_l2_bias=0.5"): "layer_defaults.l1_vs_l2_bias changes nothing: the bias does not decay",
    (
        SMALL,
        "layers.fc1.include_bias=false",
        "layers.fc1.bias_stddev=0.1",
    ): "bias_stddev changes nothing: the layer has no bias",
    ("wine", "loader.validation_ratio=null", "loader.validation_size=5"): "there is no validation set to take them from",
    (SMALL, "loader.split_seed=1"): "loader.split_seed changes nothing without loader.validation_ratio",
    # optimizers
    (SMALL, "optimizer=adamz"): "optimizer=adamz is not known; did you mean 'adam'",
    (SMALL, "optimizer="): "optimizer= chooses no option; known: adam, adamw, mine, none, sgd",
    (SMALL, "optimizer=[adam]"): "optimizer=[adam] chooses no option",
    (SMALL, "optimizer=${name}"): "optimizer=${name} chooses no option",
    (SMALL, "optimizer=adam,"): "optimizer= is not known",
    (SMALL, "optimizer._target_=torch.optim.Adamm"): "did you mean 'Adam'",
    (SMALL, "optimizer._target_=AdamW"): "must name a class with its module",
    (SMALL, "optimizer.lr=0.1"): "optimizer has no _target_",
    (SMALL, "optimizer=adamw", "optimizer.learning_rate=0.1"): "unexpected keyword argument 'learning_rate'; did you mean 'lr'",
    (SMALL, "lr=0.1"): "'lr' is not a key; did you mean 'layers.NAME.learning_rate'",
    (SMALL, "layers.fc1.lr=0.1"): "did you mean 'learning_rate'",
    (SMALL, "optimizer=adamw", "optimizer.lr=fast"): "optimizer.lr='fast' is a text",
    (SMALL, "optimizer=null"): "optimizer=null takes away what a defaults list has chosen, and none has",
    (SMALL, "seed=1", "seed=-1"): "seed=-1 must be between",
    (SMALL, "~optimizer", "optimizer=adam"): "~optimizer takes away what optimizer=adam sets",
    (SMALL, "optimizer=adamw", "layer_defaults={gradient_momentum: 0.5}"): "veles-run: layer_defaults.gradient_momentum has no",
    (SMALL, "defaults=[mnist]"): "defaults is for conf files",
    (SMALL, "~optimizer"): "~optimizer takes away what a defaults list has chosen, and none has",
    (SMALL, "+decision.max_epochs=3"): "+decision.max_epochs: decision.max_epochs is set already: decision.max_epochs=VALUE",
    (SMALL, "~decision", "decision.max_epochs=3"): "~decision takes away what another key is to change: leave one of them out",
    (SMALL, "seed=3", "~seed"): "~seed takes away what seed=3 sets",
    (SMALL, "layers.fc1.learning_rate=0.1", "~layers.fc1"): "~layers.fc1 takes away what layers.fc1.learning_rate=0.1 sets",
    (SMALL, "logger="): "logger= is empty",
    (SMALL, "loggers.tensorboard.folder=x"): "loggers.tensorboard.folder changes nothing without logger",
    (SMALL, "mcdnnic_parameters={a: 1}"): "mcdnnic_parameters changes nothing without mcdnnic_topology",
    (SMALL, "hydra.searchpath=[file:///x]"): "hydra.searchpath changes nothing: conf files are in conf/ of this folder",
    (SMALL, "hydra.sweep.dir=x"): "hydra.sweep.dir is for sweeps: veles-run -m",
    (SMALL, "hydra/launcher=joblib"): "hydra/launcher is for sweeps: veles-run -m",
    ("-m", SMALL, "hydra.run.dir=x", "seed=1,2"): "hydra.run.dir is for one run",
    (SMALL, "optimizer=adamw", "layers.fc1.learning_rate=0.1"): "layers.fc1.learning_rate has no meaning beside",
    # snapshots
    (SMALL, "snapshot=nope.pickle.gz"): "there is no snapshot 'nope.pickle.gz'",
    (SMALL, "snapshot=lastest"): "did you mean 'latest'",
    (SMALL, "snapshot=bset"): "did you mean 'best'",
    (SMALL, "snapshot=tag:"): "'' cannot be a tag",
    ("snapshot=words.csv",): "it is not a snapshot of veles-run",
    (SMALL, "snapshot=latest"): "there is no snapshot of 'mnist_small'",
    (SMALL, "mode=evaluate"): "name it with snapshot=FILE",
    (SMALL, "mode=test"): "expected one of [train, evaluate, predict]",
    # files
    (*TABLE, "loader.data_file=none.csv"): "loader.data_file='none.csv' is not a file (in '",
    (*TABLE, "loader.data_file=words.csv"): "'words.csv', line 3, column 'b': 'four' is not a number",
    (*TABLE, "loader.data_file=ragged.csv"): "line 3 has 2 values",
    (*TABLE, "loader.data_file=empty.csv"): "it has no rows",
    (*TABLE[:-1], "loader.data_file=words.csv", "loader.label=lable"): "did you mean 'label'",
    (*TABLE, "loader.data_file=cut.parquet"): "loader.data_file='cut.parquet' cannot be read: ",
    TABLE: "needs loader.data_file",
    (SMALL, "loader.name=images", "loader.data_dir=none"): "loader.data_dir='none' is not a folder",
    (SMALL, "hydra.run.dir=words.csv"): "'words.csv' (the run's folder is hydra.run.dir)",
    # YAML
    ("indent",): "conf/indent.yaml:3:2: ",
    ("tab",): "that cannot start any token: indent by blanks, not by tabs",
    ("octal",): "conf/octal.yaml:2:19: YAML takes 020 for the number 16",
    (
        "unquoted",
    ): "conf/unquoted.yaml:1:23: expected ',' or '}', but got '{', while parsing a flow mapping that begins in line 1:"
    " quote a ${...}",
    ("open",): "conf/open.yaml:2:1: ",
    ("twice",): "conf/twice.yaml:2:1: found duplicate key loader",
    ("text",): "conf/text.yaml: 'just text' is not a key",
    ("items",): "conf/items.yaml is a list",
    ("empty",): "layers is empty",
    ("typo",): "conf/typo.yaml:3: 'loader.minibach_size' is not a key; did you mean 'minibatch_size'",
    ("scalar",): "conf/scalar.yaml:2:9: loader is a section",
    ("number",): "conf/number.yaml:2: '5' is not a key",
    ("truth",): "'loader.True' is not a key",
    ("nothing",): "conf/nothing.yaml cannot be read: Incompatible key type",
    ("unset_section",): "conf/unset_section.yaml:2: loader: it needs a value, and null is none",
    ("one",): "conf/one.yaml:2: loader.categories: it is a list",
    ("tracker",): "conf/tracker.yaml:2:11: loggers.mlflow is a section",
    ("value",): "conf/value.yaml:3: decision.max_epochs: Value 'five'",
    ("base",): "did you mean 'mnist_small'",
    ("group",): "optimizer=adamz is not known",
    ("british",): "'optimiser' is not a config group; did you mean 'optimizer'? known: optimizer (",
    ("absolute",): "'mnist_small' is not a config group, but a conf: name it /conf/mnist_small (conf/absolute has it",
    ("round",): "conf=round has a defaults list that leads back to it",
    ("dots",): "conf/dots.yaml:3: 'loader.name' is one word in YAML, where keys have no dots: write name below loader",
    ("alias",): "conf=alias has a defaults list that leads back to it, or is nested too deeply",
    ("nolist",): "defaults must be a list",
    ("latin",): "conf/latin.yaml is not UTF-8 text",
    ("five",): "layers=5 must be a mapping",
    # modules of one's own
    (SMALL, "layers.x._target_=mine.NotAModule"): "layers.x._target_=mine.NotAModule is not a torch.nn.Module",
    (SMALL, "layers.x._target_=mine.Broke"): "the module 'mine' has no 'Broke'; did you mean 'Broken'",
    (SMALL, "layers.x._target_=nowhere.Layer"): "No module named 'nowhere'; modules are searched for in the current folder",
    (SMALL, "layers.x._target_=mine"): "layers.x._target_=mine is a module, and no class",
    (SMALL, "layers.x._target_=Linear"): "must name a class with its module",
    (SMALL, "layers.x._target_=mine.Broken", "layers.x.sise=3"): "unexpected keyword argument 'sise'",
    ("workflow._target_=flow.Flow",): "workflow.size is missing: Flow needs it",
    ("workflow._target_=flow.Flow", "workflow.sise=1"): "did you mean 'size'",
    ("workflow._target_=mine.Broken",): "is not a subclass of runner.graph.workflow.Workflow",
    ("workflow._target_=nowhere.Flow",): "No module named 'nowhere'; modules are searched for in the current folder",
}
IN_OWN_CODE = {
    ("exits",): "the run has failed: SystemExit: 3 (mine.py:30)",
    ("interrupts",): "the run has failed: KeyboardInterrupt (mine.py:34)",
    (SMALL, "layers.x._target_=leaves.A"): "SystemExit: needs python 4 (leaves.py:2)",
    (SMALL, "layers.x._target_=mine.Broken"): "AttributeError: 'int' object has no attribute 'nothing' (mine.py:7)",
    (SMALL, "layers.x._target_=needs.Layer"): "No module named 'not_installed' (needs.py:2)",
    (SMALL, "layers.x._target_=typo.A"): "SyntaxError: expected ':' (typo.py:2)",
    ("workflow._target_=needs.Flow",): "No module named 'not_installed' (needs.py:2)",
    ("workflow._target_=typo.Flow",): "SyntaxError: expected ':' (typo.py:2)",
    ("workflow._target_=flow.Flow", "workflow.size=1"): "no attribute 'link_form' (flow.py:7)",
    ("numbers",): "KeyError: 0 (mine.py:26)",
    ("late",): "layers.x (Late) fails on a minibatch of 100: ValueError: several lines (mine.py:13)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomer")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], folder: Path, veles_run: Run) -> None:
    done = veles_run(*arguments, code=2, cwd=folder)
    (line,) = done.stderr.splitlines()
    assert line.startswith("veles-run: ")
    assert CASES[arguments] in line
    assert "hydra.cc" not in line
    assert not any("max_epochs" in text for text in arguments) or ".yaml" not in line  # no file has said what was typed
    assert done.stdout == ""
    assert not (folder / "outputs" / SMALL).exists()


@pytest.mark.parametrize("arguments", IN_OWN_CODE, ids=" ".join)
def test_a_mistake_in_ones_own_code_has_its_place_and_a_traceback(
    arguments: tuple[str, ...], tmp_path: Path, veles_run: Run
) -> None:
    (tmp_path / "conf").mkdir()
    modules = [f"{name}.py" for name in ("mine", "needs", "typo", "flow", "leaves")]
    for name in (*modules, *(f"conf/{name}.yaml" for name in ("numbers", "late", "exits", "interrupts"))):
        (tmp_path / name).write_text(FILES[name])
    done = veles_run(*arguments, "plotters=false", code=None)
    (line,) = done.stderr.splitlines()
    assert IN_OWN_CODE[arguments] in line
    (log,) = tmp_path.glob("outputs/*/*/*/veles-run.log")
    assert f"traceback: {log.relative_to(tmp_path)})" in line
    assert "Traceback (most recent call last)" in log.read_text()
    assert "Traceback" not in done.stdout
