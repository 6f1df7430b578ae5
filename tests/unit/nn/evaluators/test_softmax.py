import pickle

import numpy as np
import pytest
import torch

from runner.errors import ConfigError
from runner.graph import Bool
from runner.nn.evaluators import class_evaluator
from runner.nn.evaluators.softmax import SoftmaxEvaluator
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import TRAIN, VALIDATION
from tests.networks import BlobsLoader, network, trained
from tests.units import Holder, LoggedWorkflow


def evaluator(output: torch.Tensor, labels: torch.Tensor, split: int = VALIDATION) -> SoftmaxEvaluator:
    workflow = LoggedWorkflow()
    source = Holder(workflow, output_=output, output_shape=output.shape[1:], labels_=labels, evaluating=Bool(True))
    source.minibatch = Minibatch(split, 0, len(output), False, False)
    made = SoftmaxEvaluator(workflow)
    made.link_attrs(source, "output_", "output_shape", "labels_", "minibatch", "evaluating")
    made.initialize()
    return made


def test_wrong_answers_are_counted_by_split() -> None:
    output = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])
    counting = evaluator(output, torch.tensor([1, 1, 1]))
    counting.run()
    counting.run()
    assert counting.compute(VALIDATION) == counting.compute(VALIDATION) == pytest.approx(200 / 3)
    counting.reset(VALIDATION)
    assert np.isnan(counting.compute(VALIDATION))
    assert np.isnan(counting.compute(TRAIN))


@pytest.mark.parametrize("limit", [class_evaluator.CONFUSION_LIMIT, 4])
def test_the_confusion_matrix_has_rows_of_right_classes(limit: int, rng, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_evaluator, "CONFUSION_LIMIT", limit)
    numbers = torch.Generator().manual_seed(rng.randrange(2**32))
    output, labels = torch.rand((200, 5), generator=numbers), torch.randint(5, (200,), generator=numbers)
    counting = evaluator(output, labels)
    counting.run()
    answers = output.argmax(1)
    assert counting.compute(VALIDATION) == 100 * int((answers != labels).sum()) / 200
    if limit == 4:
        assert counting.confusion == {}
        return
    expected = torch.zeros(5, 5, dtype=torch.int64)
    for answer, label in zip(answers, labels, strict=True):
        expected[label, answer] += 1
    assert torch.equal(counting.confusion["validation"], expected)


def test_after_an_epoch_the_matrices_are_those_of_its_history() -> None:
    workflow = trained()
    for name, error in workflow.decision.history[-1].items():
        matrix = workflow.evaluator.confusion[name]
        assert 100 * (1 - matrix.trace() / matrix.sum()) == pytest.approx(error)
    assert [int(workflow.evaluator.confusion[name].sum()) for name in ("train", "validation")] == [50, 21]
    restored = pickle.loads(pickle.dumps(workflow))
    assert torch.equal(restored.evaluator.confusion["train"], workflow.evaluator.confusion["train"])


@pytest.mark.parametrize(("shape", "fine"), [(3, True), ([3, 1], True), (4, True), (2, False)])
def test_labels_need_outputs(shape: object, fine: bool) -> None:
    workflow = network(layers={"out": {"type": "softmax", "output_sample_shape": shape}})
    if fine:
        workflow.initialize()
        return
    with pytest.raises(ConfigError, match=r"last layer has 2 outputs, but the labels go up to 2: .* to 3 or more"):
        workflow.initialize()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "loss_function=softmax needs labels"),
        ({TRAIN: torch.tensor([0, -1])}, "has the label -1: labels must be at least 0"),
    ],
)
def test_data_without_proper_labels_are_refused(labels: dict[int, torch.Tensor], message: str) -> None:
    loader = BlobsLoader(LoggedWorkflow(), seed=1)
    loader.labels_ = loader.data_ = labels
    with pytest.raises(ConfigError, match=message):
        evaluator(torch.rand(2, 3), torch.tensor([0, 1])).check_data(loader)
