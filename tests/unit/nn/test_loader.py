import itertools
import pickle

import numpy as np
import pytest
import torch

from runner.errors import ConfigError, SnapshotMismatchError
from runner.nn.loading.normalizers import NORMALIZERS
from runner.nn.loading.samples import TEST, TRAIN, VALIDATION, Samples
from tests.networks import SIZES, BlobsLoader, TestedBlobsLoader
from tests.units import LoggedWorkflow


def loader(cls: type[BlobsLoader] = BlobsLoader, dtype: torch.dtype = torch.float32, **settings: object) -> BlobsLoader:
    workflow = LoggedWorkflow()
    workflow.dtype = dtype
    made = cls(workflow, seed=1, **({"minibatch_size": 8} | settings))
    made.initialize()
    return made


def epoch(served: BlobsLoader) -> dict[int, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Serves one epoch; returns data and labels by class of samples."""
    seen: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    before = served.epoch_number
    while served.epoch_number == before:
        served.run()
        step = served.minibatch
        assert len(served.minibatch_data_) == len(served.minibatch_labels_) == step.end - step.begin
        assert bool(served.evaluating) is (step.split != TRAIN)
        assert bool(served.epoch_ended) is step.epoch_ends is (served.epoch_number > before)
        seen.setdefault(step.split, []).append((served.minibatch_data_, served.minibatch_labels_))
    return seen


@pytest.mark.parametrize("size", [1, 7, 8, 25, 50, 64])
@pytest.mark.parametrize("cls", [BlobsLoader, TestedBlobsLoader])
def test_an_epoch_serves_every_sample_once(cls: type[BlobsLoader], size: int) -> None:
    served = loader(cls, minibatch_size=size, normalization="none")
    raw = served.load_data()
    for _ in range(2):
        seen = epoch(served)
        assert list(seen) == [key for key in (TRAIN, VALIDATION, TEST) if cls.sizes[key]]
        for key, minibatches in seen.items():
            data, labels = (np.concatenate([pair[side].numpy() for pair in minibatches]) for side in (0, 1))
            expected = raw[key].data.astype(np.float32)
            if key == TRAIN:
                order = np.argsort(data[:, 0, 0]), np.argsort(expected[:, 0, 0])
                data, labels = data[order[0]], labels[order[0]]
                expected, wanted = expected[order[1]], raw[key].labels[order[1]]
            else:
                wanted = raw[key].labels
            assert np.array_equal(data, expected)
            assert np.array_equal(labels, wanted)
        assert served.steps == sum(map(len, seen.values()))


def test_the_last_minibatch_has_what_is_left() -> None:
    seen = epoch(loader(minibatch_size=8))
    assert [len(labels) for _, labels in seen[TRAIN]] == [8] * 6 + [2]
    assert [len(labels) for _, labels in seen[VALIDATION]] == [8, 8, 5]


def test_each_epoch_has_an_order_of_its_own_that_the_seed_repeats() -> None:
    served, again = loader(), loader()
    orders = [torch.cat([data for data, _ in epoch(served)[TRAIN]]) for _ in range(3)]
    repeated = [torch.cat([data for data, _ in epoch(again)[TRAIN]]) for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(orders, repeated, strict=True))
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[1], orders[2])


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_the_order_stays_after_so_many_shuffles(limit: int) -> None:
    served = loader(shuffle_limit=limit)
    orders = [torch.cat([data for data, _ in epoch(served)[TRAIN]]) for _ in range(4)]
    changes = [torch.equal(before, after) for before, after in itertools.pairwise(orders)]
    assert changes == [epoch_number >= limit for epoch_number in range(1, 4)]
    assert torch.equal(orders[0], served.data_[TRAIN]) is (limit == 0)


def test_a_pickled_loader_goes_on_within_its_epoch() -> None:
    served = loader()
    for _ in range(11):
        served.run()
    restored = pickle.loads(pickle.dumps(served.workflow))["loader"]
    assert not hasattr(restored, "data_")
    restored.initialize()
    for _ in range(20):
        served.run()
        restored.run()
        assert served.minibatch == restored.minibatch
        assert torch.equal(served.minibatch_data_, restored.minibatch_data_)
        assert torch.equal(served.minibatch_labels_, restored.minibatch_labels_)


def test_sizes_take_the_first_samples() -> None:
    served = loader(train_size=10, validation_size=3, normalization="none")
    assert served.split_lengths == [0, 3, 10]
    raw = served.load_data()
    assert np.array_equal(served.data_[VALIDATION].numpy(), raw[VALIDATION].data[:3].astype(np.float32))
    assert sorted(served.data_[TRAIN][:, 0, 0].tolist()) == sorted(raw[TRAIN].data[:10, 0, 0].astype(np.float32).tolist())


def test_a_validation_size_of_zero_is_no_validation_set() -> None:
    served = loader(validation_size=0)
    assert served.split_lengths == [0, 0, SIZES[TRAIN]]
    assert list(epoch(served)) == [TRAIN]
    assert served.evaluation() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minibatch_size": 0}, "loader.minibatch_size=0 must be at least 1"),
        ({"train_size": 0}, "loader.train_size=0 must be at least 1"),
        ({"validation_size": -5}, "loader.validation_size=-5 must be at least 0"),
        ({"train_size": 51}, "loader.train_size=51 is more than the 50 samples that there are"),
        ({"validation_size": 22}, "loader.validation_size=22 is more than the 21 samples that there are"),
        (
            {"normalization": "log"},
            "loader.normalization='log' is unknown; known: internal_mean, linear, mean_dispersion, none",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader(**settings)


def test_training_samples_are_needed() -> None:
    class Empty(BlobsLoader):
        sizes = {TRAIN: 0, VALIDATION: 3}

    with pytest.raises(ConfigError, match="has no training samples"):
        loader(Empty)


class Changing(BlobsLoader):
    """Loads other data each time it is told to."""


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch):
    """Returns a function that makes a loader, serves some minibatches, and changes the data."""

    def make(steps: int, **changes: object) -> Changing:
        served = loader(Changing)
        for _ in range(steps):
            served.run()
        for name, value in changes.items():
            monkeypatch.setattr(Changing, name, value)
        return served

    return make


def test_data_that_are_not_those_of_the_snapshot_are_refused(changing) -> None:
    refused = r"the data that Changing\('loader'\) loads are not those of the snapshot \(%s\).*allow_changed_data"
    with pytest.raises(SnapshotMismatchError, match=refused % "as many samples, .*"):
        changing(0, seed_of_data=2).initialize()
    lengths = BlobsLoader.sizes
    with pytest.raises(SnapshotMismatchError, match=refused % f"train 7 samples instead of {lengths[TRAIN]}"):
        changing(0, sizes=lengths | {TRAIN: 7}).initialize()


def test_data_that_changed_can_be_allowed_and_keep_the_normaliser(changing, caplog: pytest.LogCaptureFixture) -> None:
    served = changing(5, seed_of_data=2)
    before, fingerprint = served.normalizer, served.fingerprint
    served.allow_changed_data_ = True
    served.initialize()
    assert served.normalizer == before
    assert served.fingerprint != fingerprint
    assert "The data are not those of the snapshot (restore.allow_changed_data=true)" in caplog.text
    assert not pickle.loads(pickle.dumps(served.workflow))["loader"].allow_changed_data_


def test_another_number_of_samples_is_allowed_between_epochs_only(changing) -> None:
    sizes = {TRAIN: 30, VALIDATION: 7, TEST: 0}
    served = changing(0, sizes=sizes)
    served.allow_changed_data_ = True
    served.initialize()
    assert served.split_lengths == [0, 7, 30]
    assert len(epoch(served)[TRAIN]) == 4


def test_another_number_of_samples_is_refused_within_an_epoch(changing) -> None:
    served = changing(3, sizes={TRAIN: 30, VALIDATION: 7, TEST: 0})
    served.allow_changed_data_ = True
    with pytest.raises(SnapshotMismatchError, match="only one from the end of an epoch can go on"):
        served.initialize()


def test_samples_of_another_shape_are_refused() -> None:
    served = loader()
    served.sample_shape, served.fingerprint, served.allow_changed_data_ = (4, 4), "other", True
    with pytest.raises(SnapshotMismatchError, match=r"samples of shape \(2, 3\), those of the snapshot \(4, 4\)"):
        served.initialize()


class Undivided(BlobsLoader):
    """Has nothing but a training set."""

    sizes = {TRAIN: 50}


def test_a_share_of_the_training_set_is_set_apart() -> None:
    served, again = (loader(Undivided, validation_ratio=0.2) for _ in range(2))
    assert served.split_lengths == [0, 10, 40]
    assert torch.equal(served.data_[VALIDATION], again.data_[VALIDATION])
    other = loader(Undivided, validation_ratio=0.2, split_seed=1)
    assert not torch.equal(served.data_[VALIDATION], other.data_[VALIDATION])
    assert served.fingerprint == again.fingerprint != other.fingerprint


def test_a_share_is_not_taken_where_there_is_a_validation_set() -> None:
    with pytest.raises(ConfigError, match=r"loader.validation_ratio=0.2: the data have a validation set already"):
        loader(validation_ratio=0.2)


@pytest.mark.parametrize(("settings", "said"), [({}, True), ({"validation_ratio": 0}, False), ({"validation_size": 0}, False)])
def test_a_missing_validation_set_is_pointed_out(
    settings: dict[str, int], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert loader(Undivided, **settings).split_lengths == [0, 0, 50]
    assert ("There is no validation set" in caplog.text) is said


@pytest.mark.parametrize(("normalization", "low", "high"), [("linear", -1, 1), ("range", 0, 1), ("none", None, None)])
def test_normalisation_maps_the_range_of_the_training_set(normalization: str, low: float | None, high: float | None) -> None:
    served = loader(normalization=normalization, dtype=torch.float64)
    raw = torch.tensor(served.load_data()[TRAIN].data)
    low, high = (raw.min().item(), raw.max().item()) if low is None else (low, high)
    data = served.data_[TRAIN]
    assert (data.min().item(), data.max().item()) == pytest.approx((low, high))
    slope = (high - low) / (raw.max() - raw.min())
    torch.testing.assert_close(served.data_[VALIDATION] - served.data_[VALIDATION].mean(), slope * centred(served))
    assert normalization in NORMALIZERS


def centred(served: BlobsLoader) -> torch.Tensor:
    raw = torch.tensor(served.load_data()[VALIDATION].data)
    return raw - raw.mean()


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8", ">f4", ">u2", "i1", "?"])
def test_any_type_of_number_is_served(dtype: str) -> None:
    class Typed(BlobsLoader):
        def load_data(self) -> dict[int, Samples]:
            return {TRAIN: Samples(np.arange(12).reshape(6, 2)[::-1].astype(dtype), np.zeros(6, ">i8"))}

    served = loader(Typed, normalization="none", validation_ratio=0)
    assert torch.equal(
        served.data_[TRAIN], torch.from_numpy(np.arange(12).reshape(6, 2)[::-1].astype(dtype).astype(np.float32))
    )


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (Samples(np.zeros((3, 2)), np.zeros(2, int)), r"the train set has 3 samples, and labels of shape \(2,\)"),
        (Samples(np.zeros((3, 2)), np.zeros((3, 1), int)), r"the train set has 3 samples, and labels of shape \(3, 1\)"),
        (
            Samples(np.zeros((3, 2)), np.array([0, 1.5, 2])),
            "the train sample 1 .* has the label 1.5: a label is a whole number",
        ),
        (Samples(np.zeros((3, 2)), np.array([0, np.nan, 2])), "the train sample 1 .* has the label nan"),
        (
            Samples(np.zeros((3, 2)), np.array([0, 1, 2**64 - 1], "u8")),
            "the train sample 2 .* has the label 18446744073709551615",
        ),
        (Samples(np.zeros((3, 2)), None, np.zeros((2, 1))), r"the train set has 3 samples, and targets of shape \(2, 1\)"),
        (
            Samples(np.array([[0.0], [1e39], [2]])),
            "the train sample 1 .* has the value 1e\\+39, which is too large for float32",
        ),
        (Samples(np.array([[0.0], [np.nan], [2]])), "the train sample 1 .* has the value nan"),
        (Samples(np.zeros((3, 2)), None, np.array([[0.0], [1], [np.inf]])), "the train sample 2 .* has the target value inf"),
    ],
)
def test_wrong_samples_of_any_loader_are_named(samples: Samples, message: str) -> None:
    class Wrong(BlobsLoader):
        def load_data(self) -> dict[int, Samples]:
            return {TRAIN: samples}

    with pytest.raises(ConfigError, match=message):
        loader(Wrong, normalization="none", validation_ratio=0)


class ListedLoader(BlobsLoader):
    """A point for each label that it is given."""

    labels: dict[int, list[int]] = {}
    names: list[str] = []

    def load_data(self) -> dict[int, Samples]:
        self.label_names = self.names
        numbers = np.random.default_rng(1)
        return {key: Samples(numbers.normal(size=(len(part), 2)), np.array(part)) for key, part in self.labels.items()}


@pytest.mark.parametrize(
    ("train", "validation", "names", "told"),
    [
        ([0, 0, 0], [0], [], "All training samples have the label 0: there is nothing to tell apart"),
        ([1, 1, 1], [1], ["cat", "dog"], "All training samples have the label dog"),
        ([1, 2, 3], [2], [], "No training sample has a label below 1: labels are counted from 0"),
        ([0, 1, 0], [0, 3, 2], [], "The validation set has labels that no training sample has: 2, 3"),
        ([0, 1, 0], [2], ["cat", "dog", "bee"], "The validation set has labels that no training sample has: bee"),
        ([0, 1, 0], [1, 1, 1], [], None),
        ([0, 2, 0], [0, 2], [], None),
    ],
)
def test_labels_from_which_nothing_can_be_learned_are_told(
    train: list[int],
    validation: list[int],
    names: list[str],
    told: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ListedLoader, "labels", {TRAIN: train, VALIDATION: validation})
    monkeypatch.setattr(ListedLoader, "names", names)
    loader(ListedLoader)
    assert [message.startswith(told or "") for message in caplog.messages] == [True] * (told is not None)


def test_a_validation_set_that_is_the_training_set_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class SameLoader(BlobsLoader):
        def load_data(self) -> dict[int, Samples]:
            samples = super().load_data()
            return {TRAIN: samples[TRAIN], VALIDATION: samples[TRAIN]}

    loader(SameLoader)
    assert caplog.messages == ["The validation set is the training set: its errors say nothing of other data"]
