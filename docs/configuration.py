"""Makes docs/configuration.md of the schema: python docs/configuration.py > docs/configuration.md"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from runner.config import config, training
from runner.config import loading as data
from runner.config import snapshotting as snapshots
from runner.config.layers import image_layers as images
from runner.config.layers import schema as layers

HEAD = """# Configuration

A conf file is a YAML file in `conf/` of the current folder, or of the package; `veles-run conf=NAME` runs it. It begins with
`# @package _global_`. Every key can be set on the command line (`decision.max_epochs=5`) and swept
(`-m loader.minibatch_size=50,100`); `veles-run conf=NAME --cfg job` shows what a run would have. The grammar is Hydra's; a
value that Hydra cannot read, such as a path with `=`, is taken literally.

A text is the text that is typed, or written in a conf file: `snapshotter.prefix=1e3`, `snapshotter.directory=2024_01_02`,
`workflow.name=true`. Only `null` is none; `"snapshotter.prefix='null'"` is the text. A column is a number if it is a whole one
(`loader.label=3`), else a name. Arguments of your own classes, whose types the schema does not know, follow the rules of Hydra
and YAML: `workflow.tag=1e3` is the number 1000, `"workflow.tag='1e3'"` a text.

This page is generated from the schema: `python docs/configuration.py > docs/configuration.md`.
"""

LAYERS = """
`layers` is a mapping from names to settings, from the first layer to the last:

```yaml
layers:
  fc1: {type: all2all_relu, output_sample_shape: 100, learning_rate: 0.03, gradient_momentum: 0.9}
  out: {type: softmax, output_sample_shape: 10, learning_rate: 0.03, gradient_momentum: 0.9}
```

| type | output |
|---|---|
| `all2all` | fully connected, linear |
| `all2all_tanh` | 1.7159 tanh(0.6666 x) |
| `all2all_relu` | max(0, x) |
| `all2all_softplus` | log(1 + e^x) |
| `all2all_sigmoid` | 1 / (1 + e^-x) |
| `softmax` | softmax; the last layer, with `loss_function: softmax` |
| `conv`, `conv_tanh`, `conv_relu`, `conv_softplus`, `conv_sigmoid` | convolution, with the same functions |
| `deconv` | the transpose of the convolution named by `conv`, back to the shape of its input |
| `max_pooling`, `maxabs_pooling`, `avg_pooling` | of each window the largest value, the one farthest from zero, the mean |
| `stochastic_pooling`, `stochastic_abs_pooling` | a random value of each window, more probably a large one (far from zero) |
| `depooling` | each value back to where the layer named by `pooling` took one, zeros elsewhere |
| `local_response_norm` | local response normalization |
| `batch_norm` | batch normalization, for each channel |
| `activation_tanh`, `activation_relu`, `activation_softplus`, `activation_sigmoid` | the functions alone |
| `activation_log` | log(x + sqrt(x^2 + 1)) |
| `activation_sincos` | cos(x) at even positions of a sample, sin(x) at odd ones |
| `activation_mul` | the input times a constant |
| `cutter` | the image without its margins |
| `dropout` | in training, a share of the values is dropped and the others are scaled up |

Images are (channels, height, width); one of shape (height, width) has one channel. Pooling windows cover the whole image.

Other spellings are read with a notice: `*_str` as `*_relu`, `norm` as `local_response_norm`, `gradient_moment` as
`gradient_momentum`; so is `momentum`, except in `batch_norm` and in modules of torch, which have a `momentum` of their own.

VELES's form is understood too: a list, with the forward settings below `->` and the backward ones below `<-`. A shell reads
`->` as a redirection, and Hydra cannot address the items of a list, so the mapping is the better form for overrides:
`layers.fc1.output_sample_shape=300`. A conf file may be a whole dictionary of VELES, in which `relu` means softplus:
[veles.md](veles.md).

Any `torch.nn.Module` is a layer, given its class and its arguments; its gradients come from autograd:

```yaml
layers:
  channel: {_target_: torch.nn.Unflatten, dim: 1, unflattened_size: [1, 28]}
  conv1: {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 8, kernel_size: 3, learning_rate: 0.03}
  out: {type: softmax, output_sample_shape: 10, learning_rate: 0.03}
```

A module gets samples in the shape that they have: those of MNIST, (28, 28), have no channel, so the first layer adds one.

An optimizer of torch replaces the layers' own gradient descent, whose keys are then errors. It can be typed, too
(`optimizer._target_=torch.optim.AdamW optimizer.lr=0.001`):

```yaml
optimizer: {_target_: torch.optim.AdamW, lr: 0.001}
```

Snapshots with modules of torch load as they are. Your own modules load if your conf file names them, or with
`restore.trusted=[my_module]`.
"""

SECTIONS = (
    ("The run", "", config.Config),
    ("workflow", "workflow.", config.WorkflowConfig),
    ("loader", "loader.", data.LoaderConfig),
    ("layers", "layers.NAME.", layers.All2AllForwardConfig),
    ("Convolution", "layers.NAME.", images.ConvForwardConfig),
    ("deconv", "layers.NAME.", images.DeconvForwardConfig),
    ("Pooling", "layers.NAME.", images.PoolingForwardConfig),
    ("depooling", "layers.NAME.", images.DepoolingForwardConfig),
    ("local_response_norm", "layers.NAME.", images.LocalResponseNormForwardConfig),
    ("batch_norm", "layers.NAME.", images.BatchNormForwardConfig),
    ("cutter", "layers.NAME.", images.CutterForwardConfig),
    ("Gradient descent, for each layer with weights", "layers.NAME.", layers.MatrixGradientConfig),
    ("dropout", "layers.NAME.", layers.DropoutForwardConfig),
    ("lr_adjuster", "lr_adjuster.", training.LearningRateConfig),
    ("rollback", "rollback.", training.RollbackConfig),
    ("decision", "decision.", training.DecisionConfig),
    ("snapshotter", "snapshotter.", snapshots.SnapshotterConfig),
    ("restore", "restore.", snapshots.RestoreConfig),
)


def main() -> None:
    print(HEAD, end="")
    for title, prefix, schema in SECTIONS:
        print(f"\n## {title}")
        if title == "layers":
            print(LAYERS, end="")
        print("\n| key | default | meaning |\n|---|---|---|")
        for key, default, meaning in rows(schema):
            print(f"| `{prefix}{key}` | {default} | {meaning} |")


def rows(schema: type) -> Iterator[tuple[str, str, str]]:
    meanings = {name: text for base in reversed(schema.__mro__) if is_dataclass(base) for name, text in documented(base)}
    for item in fields(schema):
        if item.name in meanings:
            yield item.name, shown(item.default), meanings[item.name]


def documented(schema: type) -> Iterator[tuple[str, str]]:
    body = ast.parse(inspect.getsource(schema)).body[0].body
    for statement, following in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            yield statement.target.id, " ".join(following.value.value.split())


def shown(default: Any) -> str:
    if default is MISSING:
        return ""
    if default is None:
        return "`null`"
    if isinstance(default, Enum):
        return f"`{default.value}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    main()
