"""Objects that users have in their units, by name."""

import array
import collections
import datetime
import decimal
import fractions
import functools
import logging
import math
import pathlib
import pickle
import random
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from runner.graph import Bool, Unit, Workflow
from runner.nn.core.random_stream import Stream
from runner.nn.loading.minibatches import Minibatch
from tests import own

nn = torch.nn
optim = torch.optim
schedulers = optim.lr_scheduler


def again(value: Any) -> Any:
    """Returns the object as Python's own unpickler gives it: some libraries add a default then."""
    return pickle.loads(pickle.dumps(value))


def trained(make: Callable[[Any], Any]) -> Any:
    """Returns an optimizer that has taken a step."""
    torch.manual_seed(3)
    model = nn.Linear(3, 2)
    optimizer = make(model.parameters())
    loss = model(torch.ones(1, 3)).pow(2).sum()
    loss.backward()
    optimizer.step()
    return optimizer


def scheduled(make: Callable[[Any], Any]) -> Any:
    return make(optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9))


def recursive_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def recursive_tuple() -> tuple[Any, ...]:
    inner: list[Any] = []
    value = (inner, 1)
    inner.append(value)
    return value


def workflow() -> Workflow:
    flow = Workflow(name="flow")
    one = Unit(flow, "one").link_from(flow.start_point)
    two = own.Doubler(flow, "two").link_from(one)
    two.link_attrs(one, ("source", "value"))
    one.value = np.arange(3)
    one.gate_skip = ~two.gate_block
    two.gate_block.on_true = two.notice
    flow.end_point.link_from(two)
    return flow


def tensor_with_attributes() -> torch.Tensor:
    tensor = torch.arange(3.0).as_subclass(own.Marked)
    tensor.label = "x"
    return tensor


def dtype_names() -> list[str]:
    return sorted({str(value) for value in vars(torch).values() if isinstance(value, torch.dtype)})


PLAIN: dict[str, Callable[[], Any]] = {
    f"plain {number}": functools.partial(lambda value: value, value)
    for number, value in enumerate(
        [
            *(
                None,
                True,
                False,
                ...,
                NotImplemented,
                0,
                255,
                256,
                65536,
                -1,
                2**31,
                -(2**40),
                2**2000,
                1.5,
                math.inf,
                -0.0,
                1 - 2j,
            ),
            *("", "a", "é" * 200, "x" * 300, "y" * 70_000, "\udc80", b"", b"a", b"b" * 300, b"c" * 70_000, bytearray(b"d")),
            *(
                bytearray(70_000),
                (),
                (1,),
                (1, 2),
                (1, 2, 3),
                (1, 2, 3, 4),
                [],
                [1],
                [1, [2, [3]]],
                list(range(3000)),
                {},
                {"a": 1},
            ),
            *({1: {2: {3: 4}}}, dict.fromkeys(range(3000)), set(), {1, 2}, set(range(3000)), frozenset(), frozenset("ab")),
            *({(1, (2, frozenset("c"))): 3}, range(3), range(10, 0, -2), slice(1, None, 2)),
            *(
                collections.OrderedDict(b=1, a=2),
                collections.Counter("aab"),
                collections.deque([1, 2]),
                collections.deque([1], 3),
            ),
            *(
                collections.defaultdict(list, {1: [2]}),
                collections.defaultdict(None, {1: 2}),
                collections.ChainMap({1: 2}, {3: 4}),
            ),
            *(
                collections.UserDict(a=1),
                collections.UserList([1]),
                collections.UserString("a"),
                types.SimpleNamespace(a=1, b=[2]),
            ),
            *(datetime.date(2020, 1, 2), datetime.time(1, 2, 3, 4), datetime.datetime(2020, 1, 2, 3, 4, 5, 6, fold=1)),
            *(datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC), datetime.timedelta(1, 2, 3), datetime.UTC),
            datetime.timezone(datetime.timedelta(hours=1), "x"),
            datetime.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
            *(decimal.Decimal("1.50"), decimal.Decimal("NaN"), decimal.Decimal("-Infinity"), fractions.Fraction(-1, 3)),
            *(uuid.UUID(int=7), uuid.uuid1(), pathlib.Path("a/b"), pathlib.Path("/"), pathlib.PurePosixPath("a")),
            *(
                pathlib.PureWindowsPath("c:/a"),
                array.array("d", [1.5]),
                array.array("B", b"ab"),
                logging.getLogger("tests.objects"),
            ),
            *(own.Colour.RED, own.Flags.A | own.Flags.B, own.Number.ONE, own.Point(1, 2), own.Frozen(1, (2, 3))),
            *(
                own.Slotted(1),
                own.FrozenSlots("a", 2),
                own.Pair(1, 2),
                own.Plain(1),
                own.Stateful(3),
                own.Called(4),
            ),
            *(own.Names(["a"]), own.Table(a=1)),
            *(
                own.Row((1, 2)),
                own.Bag({1, 2}),
                own.Length(3),
                own.Label("a"),
                own.Ratio(1.5),
                own.Ordered(a=1),
                own.Outcome(a=1),
            ),
            *(own.Deferred(5), [own.Point(1, 2)] * 3, {own.Colour.RED: 1, own.Frozen(1, (2,)): 2}),
        ]
    )
}

CALLABLES: dict[str, Callable[[], Any]] = {
    "a class of Python": lambda: int,
    "the class of None": lambda: type(None),
    "a class of numpy": lambda: np.float32,
    "a class of torch": lambda: nn.Linear,
    "a class of one's own": lambda: own.Plain,
    "an enum": lambda: own.Colour,
    "a function of torch": lambda: nn.functional.relu,
    "a registered function": lambda: own.scaled,
    "a function of Python": lambda: math.sqrt,
    "a partial": lambda: functools.partial(own.scaled, 2, factor=3),
    "a partial of a class": lambda: functools.partial(own.Point, 1),
    "a partial of Python's": lambda: functools.partial(pathlib.Path, "a"),
    "a bound method": lambda: own.Bound(3).call,
    "a defaultdict with a factory of one's own": lambda: collections.defaultdict(own.Plain),
    "a scheduler with a function": lambda: scheduled(lambda o: schedulers.LambdaLR(o, own.scaled)),
}
"""What can be called, or holds what can: in no snapshot."""

OURS: dict[str, Callable[[], Any]] = {
    "minibatch": lambda: Minibatch(1, 0, 5, True, False),
    "bool": lambda: Bool(True),
    "expression": lambda: ~Bool(True) | Bool(False),
    "stream": lambda: Stream(1, "x"),
}
"""Objects of veles-run itself, which have stable names in snapshots alone."""

NUMPY: dict[str, Callable[[], Any]] = {
    **{
        f"numpy array of {code!r}": functools.partial(lambda code: np.zeros((2, 3), code), code)
        for code in (
            *("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", "c8", "c16", "G", ">i4", ">f8"),
            *("S3", "U3", "V5", "M8[ns]", "m8[25us]", "M8", "O", "S0"),
        )
    },
    **{
        f"numpy scalar {code!r}": functools.partial(lambda code: np.ones((), code)[()], code)
        for code in ("?", "i1", "u2", "i8", "f2", "f4", "f8", "c16", "g", "M8[D]", "m8[s]", "U2", "S2")
    },
    "numpy fields": lambda: np.array([(1, "a", [1, 2])], [("a", "i4"), ("b", "U3"), ("c", "f8", 2)]),
    "numpy fields with objects": lambda: np.array([(1, [2])], [("a", "i4"), ("b", "O")]),
    "numpy aligned": lambda: np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "numpy titles": lambda: np.zeros(2, [(("title", "a"), "<i4")]),
    "numpy offsets": lambda: np.zeros(2, {"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 16}),
    "numpy nested fields": lambda: np.zeros(2, [("a", [("b", "i2"), ("c", ">f4")]), ("d", "O")]),
    "numpy dtype": lambda: np.dtype(">f4"),
    "numpy subarray dtype": lambda: np.dtype(("f4", (2, 3))),
    "numpy empty": lambda: np.zeros((0, 3)),
    "numpy 0-d": lambda: np.array(1.5),
    "numpy fortran": lambda: np.arange(6.0).reshape(2, 3, order="F"),
    "numpy strided": lambda: np.arange(10)[::2],
    "numpy large": lambda: np.arange(20_000.0),
    "numpy read-only": lambda: np.frombuffer(b"abcd", "u1"),
    "numpy objects": lambda: np.array([None, "a", [1]], dtype=object),
    "numpy masked": lambda: np.ma.array([1, 2], mask=[0, 1], fill_value=7),
    "numpy masked fields": lambda: np.ma.array([(1, 2.0)], mask=[(0, 1)], dtype=[("a", "i4"), ("b", "f8")]),
    "numpy records": lambda: np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "numpy matrix": lambda: np.asmatrix(np.eye(2)),
    "numpy polynomial": lambda: again(np.polynomial.Polynomial([1, 2], [0, 1], [2, 3])),
    "numpy poly1d": lambda: np.poly1d([1, 2]),
    "numpy PCG64": lambda: np.random.default_rng(1),
    "numpy PCG64DXSM": lambda: np.random.Generator(np.random.PCG64DXSM(1)),
    "numpy MT19937": lambda: np.random.Generator(np.random.MT19937(1)),
    "numpy Philox": lambda: np.random.Generator(np.random.Philox(1)),
    "numpy SFC64": lambda: np.random.Generator(np.random.SFC64(1)),
    "numpy RandomState": lambda: np.random.RandomState(1),
    "numpy SeedSequence": lambda: np.random.SeedSequence(1, spawn_key=(1,)),
    "numpy global state": np.random.get_state,
    "python generator": lambda: random.Random(1),
    "python global state": random.getstate,
}

TORCH: dict[str, Callable[[], Any]] = {
    **{f"torch {name}": functools.partial(lambda name: getattr(torch, name[6:]), name) for name in dtype_names()},
    **{
        f"torch tensor of {name}": functools.partial(lambda name: torch.zeros(3, dtype=getattr(torch, name[6:])), name)
        for name in dtype_names()
        if not name.startswith(("torch.q", "torch.bits")) and name[6:].lstrip("uint") not in "1234567"
    },
    "torch 0-d": lambda: torch.tensor(1.5),
    "torch empty": lambda: torch.zeros(0, 3),
    "torch transposed": lambda: torch.arange(6.0).view(2, 3).t(),
    "torch expanded": lambda: torch.arange(2.0).expand(3, 2),
    "torch large": lambda: torch.arange(20_000.0),
    "torch grad": lambda: torch.ones(2, requires_grad=True),
    "torch parameter": lambda: nn.Parameter(torch.ones(2)),
    "torch frozen parameter": lambda: nn.Parameter(torch.ones(2), requires_grad=False),
    "torch subclass": tensor_with_attributes,
    "torch shared": lambda: (lambda base: [base, base[1:], base.view(2, 2)])(torch.arange(4.0)),
    "torch sparse": lambda: torch.eye(3).to_sparse(),
    "torch sparse csr": lambda: torch.eye(3).to_sparse_csr(),
    "torch sparse bsr": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "torch quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    "torch quantized by channel": lambda: torch.quantize_per_channel(
        torch.ones(2, 2), torch.tensor([0.1, 0.2]), torch.tensor([0, 0]), 0, torch.qint8
    ),
    "torch untyped storage": lambda: torch.ones(2).untyped_storage(),
    "torch typed storage": lambda: torch.ones(2)._typed_storage(),
    "torch size": lambda: torch.Size([1, 2]),
    "torch device": lambda: torch.device("cpu"),
    "torch cuda device": lambda: torch.device("cuda", 1),
    "torch layout": lambda: torch.sparse_csr,
    "torch qscheme": lambda: torch.per_tensor_affine,
    "torch generator": lambda: torch.Generator().manual_seed(5),
    "torch global state": torch.get_rng_state,
}

MODULES: dict[str, Callable[[], Any]] = {
    f"module {number} {text}": functools.partial(eval, text, {"nn": nn, "own": own})
    for number, text in enumerate(
        [
            *(
                "nn.Linear(3, 2)",
                "nn.Bilinear(2, 2, 2)",
                "nn.Identity()",
                "nn.Conv1d(1, 2, 3)",
                "nn.Conv2d(1, 2, 3)",
                "nn.Conv3d(1, 2, 3)",
            ),
            *(
                "nn.ConvTranspose2d(1, 2, 3)",
                "nn.MaxPool2d(2)",
                "nn.AvgPool2d(2)",
                "nn.AdaptiveAvgPool2d(1)",
                "nn.AvgPool3d(2)",
            ),
            *(
                "nn.BatchNorm1d(2)",
                "nn.BatchNorm2d(2)",
                "nn.LayerNorm(2)",
                "nn.GroupNorm(1, 2)",
                "nn.InstanceNorm2d(2)",
                "nn.RMSNorm(2)",
            ),
            *(
                "nn.ReLU()",
                "nn.GELU()",
                "nn.Tanh()",
                "nn.Sigmoid()",
                "nn.Softmax(1)",
                "nn.LogSoftmax(1)",
                "nn.LeakyReLU()",
                "nn.PReLU()",
            ),
            *(
                "nn.Dropout(0.1)",
                "nn.Dropout2d()",
                "nn.Embedding(3, 2)",
                "nn.EmbeddingBag(3, 2)",
                "nn.Flatten()",
                "nn.Unflatten(1, (1, 1))",
            ),
            *(
                "nn.RNN(2, 3)",
                "nn.LSTM(2, 3, 2)",
                "nn.GRU(2, 3)",
                "nn.LSTMCell(2, 3)",
                "nn.GRUCell(2, 3)",
                "nn.MultiheadAttention(4, 2)",
            ),
            *("nn.TransformerEncoderLayer(4, 2, 8)", "nn.TransformerDecoderLayer(4, 2, 8)", "nn.Upsample(scale_factor=2)"),
            *(
                "nn.CrossEntropyLoss()",
                "nn.MSELoss()",
                "nn.BCEWithLogitsLoss()",
                "nn.NLLLoss()",
                "nn.HuberLoss()",
                "nn.CosineSimilarity()",
            ),
            *("nn.Sequential(nn.Linear(2, 2), nn.ReLU())", "nn.ModuleList([nn.ReLU()])", "nn.ModuleDict({'a': nn.ReLU()})"),
            *("nn.ParameterList([nn.Parameter(nn.Linear(1, 1).weight)])", "nn.ParameterDict({'a': nn.Linear(1, 1).weight})"),
            *("nn.PixelShuffle(2)", "nn.ZeroPad2d(1)", "nn.Fold(2, 1)", "own.Net()"),
        ]
    )
}

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    **{
        f"optimizer {name}": functools.partial(trained, functools.partial(getattr(optim, name), lr=0.01))
        for name in ("Adadelta", "Adagrad", "Adam", "Adamax", "AdamW", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
    },
    "optimizer LBFGS": lambda: again(optim.LBFGS(nn.Linear(2, 2).parameters())),
    "optimizer momentum": lambda: trained(lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)),
    "optimizer state_dict": lambda: trained(optim.Adam).state_dict(),
    "module state_dict": lambda: nn.Linear(2, 2).state_dict(),
    "scheduler StepLR": lambda: scheduled(lambda o: schedulers.StepLR(o, 3)),
    "scheduler MultiStepLR": lambda: scheduled(lambda o: schedulers.MultiStepLR(o, [1, 2])),
    "scheduler ConstantLR": lambda: scheduled(schedulers.ConstantLR),
    "scheduler LinearLR": lambda: scheduled(schedulers.LinearLR),
    "scheduler ExponentialLR": lambda: scheduled(lambda o: schedulers.ExponentialLR(o, 0.9)),
    "scheduler CosineAnnealingLR": lambda: scheduled(lambda o: schedulers.CosineAnnealingLR(o, 3)),
    "scheduler CosineAnnealingWarmRestarts": lambda: scheduled(lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3)),
    "scheduler PolynomialLR": lambda: scheduled(schedulers.PolynomialLR),
    "scheduler ReduceLROnPlateau": lambda: scheduled(schedulers.ReduceLROnPlateau),
    "scheduler OneCycleLR": lambda: scheduled(lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=10)),
    "scheduler CyclicLR": lambda: scheduled(lambda o: schedulers.CyclicLR(o, 0.1, 0.2)),
    "scheduler SWALR": lambda: scheduled(lambda o: torch.optim.swa_utils.SWALR(o, 0.1)),
    "scheduler SWALR linear": lambda: scheduled(lambda o: torch.optim.swa_utils.SWALR(o, 0.1, anneal_strategy="linear")),
    "averaged model": lambda: optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
    "grad scaler": lambda: torch.amp.GradScaler("cpu"),
    "data set": lambda: torch.utils.data.TensorDataset(torch.ones(2)),
    "sampler": lambda: torch.utils.data.RandomSampler(range(3)),
}

OBJECTS: dict[str, Callable[[], Any]] = {
    **PLAIN,
    **OURS,
    **NUMPY,
    **TORCH,
    **MODULES,
    **OPTIMIZERS,
    "recursive list": recursive_list,
    "recursive tuple": recursive_tuple,
    "workflow": workflow,
    "decimal context": lambda: decimal.Context(prec=5),
}
