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

A conf file is a YAML file in `conf/` of the current folder or of the package; `veles-run conf=NAME` runs it. It begins with
`# @package _global_`. Every key can be changed on the command line (`decision.max_epochs=5`), swept
(`-m loader.minibatch_size=50,100`), and looked at (`veles-run conf=NAME --cfg job`); the grammar is Hydra's, and a value that
it cannot read, such as a path with `=`, is taken literally.

This page is made of the schema by `python docs/configuration.py`.
"""

LAYERS = """
`layers` is a mapping from names to settings, from the first layer to the last:

```yaml
layers:
  fc1: {type: all2all_tanh, output_sample_shape: 100, learning_rate: 0.03}
  out: {type: softmax, output_sample_shape: 10, learning_rate: 0.03}
```

VELES's form is understood too: a list, with the forward settings below `->` and the backward ones below `<-`. A shell takes
`->` for a redirection and Hydra cannot address the items of a list, so the mapping is the better form for overrides:
`layers.fc1.output_sample_shape=300`. A whole dictionary of VELES is a conf file: [veles.md](veles.md).

| type | output |
|---|---|
| `all2all` | fully connected, linear |
| `all2all_tanh` | 1.7159 tanh(0.6666 x) |
| `all2all_relu` | log(1 + e^x) |
| `all2all_str` | max(0, x) |
| `all2all_sigmoid` | 1 / (1 + e^-x) |
| `softmax` | softmax; the last layer, with `loss_function: softmax` |
| `conv`, `conv_tanh`, `conv_relu`, `conv_str`, `conv_sigmoid` | convolution, with the same functions |
| `deconv` | the transpose of the convolution named by `conv`, back to the shape of its input |
| `max_pooling`, `maxabs_pooling`, `avg_pooling` | largest, farthest from zero, mean of each window |
| `stochastic_pooling`, `stochastic_abs_pooling` | a value by chance, the more probably the larger (the farther from zero) |
| `depooling` | each value back to where the layer named by `pooling` took one, zeros elsewhere |
| `norm` | local response normalisation |
| `batch_norm` | batch normalisation, for each channel |
| `activation_tanh`, `activation_relu`, `activation_str`, `activation_sigmoid` | the functions alone |
| `activation_log` | log(x + sqrt(x^2 + 1)) |
| `activation_sincos` | cos(x) at even places of a sample, sin(x) at odd ones |
| `activation_mul` | the input times a constant |
| `cutter` | the image without its margins |
| `dropout` | in training, a share of the values is dropped and the others are scaled up |

Images are (channels, height, width), and one that is (height, width) has one channel. Windows of pooling cover the whole image.

Any `torch.nn.Module` is a layer, made of its class and its arguments; its gradients come from autograd:

```yaml
layers:
  channel: {_target_: torch.nn.Unflatten, dim: 1, unflattened_size: [1, 28]}
  conv1: {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 8, kernel_size: 3, learning_rate: 0.03}
  out: {type: softmax, output_sample_shape: 10, learning_rate: 0.03}
```

A module gets its samples as they are: those of MNIST, (28, 28), have no channels, so one is made first.

An optimizer of torch takes the place of the layers' own gradient descent, whose keys then have no meaning; it can be typed, too
(`optimizer._target_=torch.optim.AdamW optimizer.lr=0.001`):

```yaml
optimizer: {_target_: torch.optim.AdamW, lr: 0.001}
```

Modules of torch load from a snapshot as they are; your own do where your conf file names them, or with
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
    ("norm", "layers.NAME.", images.NormForwardConfig),
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
