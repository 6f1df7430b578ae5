"""Makes docs/configuration.md of the schema: python docs/configuration.py > docs/configuration.md"""

from runner.config import config, logging_to, sharing, sweeping, training
from runner.config import loading as data
from runner.config import snapshotting as snapshots
from runner.config.documentation import keys
from runner.config.layers import image_layers as images
from runner.config.layers import schema as layers

HEAD = """# Configuration

A conf file is a YAML file in `conf/` of the current folder, or of the package; `veles-run NAME` runs it, which is short for
`conf=NAME`. `veles-run path/to/file.yaml` runs a file that is anywhere. Every key can be set on the command line
(`decision.max_epochs=5`) and swept (`-m loader.minibatch_size=50,100`). `veles-run NAME --help` shows every key of a conf with
its type, its value there and what it means; `veles-run NAME --cfg job` shows the values as YAML. The grammar is Hydra's; a
value that Hydra cannot read, such as a path with `=`, is taken literally.

A text is the text that is typed, or written in a conf file: `snapshotter.prefix=1e3`, `snapshotter.directory=2024_01_02`,
`workflow.name=true`. Only `null` is none; `"snapshotter.prefix='null'"` is the text. A column is a number if it is a whole one
(`loader.label=3`), else a name. Arguments of your own classes, whose types the schema does not know, follow the rules of Hydra
and YAML: `workflow.tag=1e3` is the number 1000, `"workflow.tag='1e3'"` a text.

A conf may begin with others, and take options from config groups, as in Hydra:

```yaml
defaults: [mnist, optimizer: adamw, _self_]
decision: {max_epochs: 5}
```

This is `conf/mnist.yaml`, then `conf/optimizer/adamw.yaml` below `optimizer`, then what the file itself says. A group is chosen
on the command line with `optimizer=adamw`, whether or not the conf has it in its defaults. `adam`, `adamw` and `sgd` are in the
package, and `none`, for sweeps that try a network without one, too (`-m optimizer=none,adamw`); a folder in your `conf/` with
YAML files is a group, too: `conf/loader/fashion.yaml` is `loader=fashion`. Its files are below the key of the folder's name;
with `# @package _global_` as their first line, they are at the top. An option is merged into what the conf itself has at its
key; one with another `_target_`, and an empty one such as `none`, take its place. A mapping that is typed is merged, too:
`~scores` takes a section away. A list of layers takes the place of those of the confs before it.

`eval "$(veles-run -sc install=bash)"` has the shell complete confs, keys, values and paths (also in zsh; `install=fish`).

All jobs of a sweep have the same seed, which is drawn and shown if none is typed; `sweep=` goes on with one
([sweeps.md](sweeps.md)). The folder of a run is `outputs/NAME/DATE/TIME`, of a job of a sweep `multirun/NAME/DATE/TIME/NUMBER`.
What did not run, such as an evaluation or a wrong key, leaves no folder in `outputs`.

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

A whole network that is one module, a loss of your own, groups of parameters, schedulers and training steps are in
[models.md](models.md).

A module gets samples in the shape that they have: those of MNIST, (28, 28), have no channel, so the first layer adds one.

`layer_defaults` has settings for each layer that takes them and has none of its own:

```yaml
layer_defaults: {learning_rate: 0.03, gradient_momentum: 0.9}
```

An optimizer of torch replaces the layers' own gradient descent: the settings of the layers are left out, which the log says. To
type both is an error.

```yaml
optimizer: {_target_: torch.optim.AdamW, lr: 0.001}
```

```sh
veles-run mnist optimizer=adamw optimizer.lr=0.002
veles-run mnist optimizer._target_=torch.optim.NAdam
veles-run mnist 'optimizer={_target_: torch.optim.AdamW, lr: 0.001}'
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
    ("parallel", "parallel.", sharing.ParallelConfig),
    ("decision", "decision.", training.DecisionConfig),
    ("metrics", "metrics.", training.MetricsConfig),
    ("TensorBoard", "loggers.tensorboard.", logging_to.TensorBoardConfig),
    ("MLflow", "loggers.mlflow.", logging_to.MLflowConfig),
    ("trackio", "loggers.trackio.", logging_to.TrackioConfig),
    ("Weights & Biases", "loggers.wandb.", logging_to.WandBConfig),
    ("snapshotter", "snapshotter.", snapshots.SnapshotterConfig),
    ("restore", "restore.", snapshots.RestoreConfig),
    ("sweep", "sweep.", sweeping.SweepConfig),
)


def main() -> None:
    print(HEAD, end="")
    for title, prefix, schema in SECTIONS:
        print(f"\n## {title}")
        if title == "layers":
            print(LAYERS, end="")
        print("\n| key | type | default | meaning |\n|---|---|---|---|")
        for key in keys(schema):
            default = f"`{key.default}`" if key.default else ""
            print(f"| `{prefix}{key.name}` | {key.type} | {default} | {key.meaning} |")


if __name__ == "__main__":
    main()
