import numpy as np
import pytest

from runner.errors import ConfigError
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples, fingerprint, split

WHOLE = Samples(np.arange(20.0).reshape(10, 2), np.arange(10), np.arange(10.0)[:, None])


def test_a_split_takes_a_share_and_keeps_what_belongs_together() -> None:
    train, validation = split(WHOLE, 0.3, 0)
    assert [len(part.data) for part in (train, validation)] == [7, 3]
    assert sorted([*train.labels, *validation.labels]) == list(range(10))
    for part in (train, validation):
        assert part.labels.tolist() == sorted(part.labels)
        assert np.array_equal(part.data[:, 0] / 2, part.labels)
        assert np.array_equal(part.targets[:, 0], part.labels)


def test_a_split_is_that_of_its_seed() -> None:
    chosen = [split(WHOLE, 0.5, seed)[1].labels.tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("ratio", [0.01, 0.99])
def test_a_split_that_leaves_a_set_empty_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match=rf"loader.validation_ratio={ratio} of 10 samples leaves nothing"):
        split(WHOLE, ratio, 0)


def test_a_fingerprint_sees_values_types_shapes_and_classes() -> None:
    same = Samples(*(array.copy() for array in WHOLE))
    others = [
        {TRAIN: WHOLE._replace(labels=WHOLE.labels[::-1])},
        {TRAIN: WHOLE._replace(labels=None)},
        {TRAIN: WHOLE._replace(targets=WHOLE.targets + 1)},
        {TRAIN: WHOLE._replace(data=WHOLE.data.astype(np.float32))},
        {TRAIN: WHOLE._replace(data=WHOLE.data.reshape(10, 1, 2))},
        {VALIDATION: WHOLE},
        {TRAIN: WHOLE.taken(slice(9)), VALIDATION: WHOLE.taken(slice(9, None))},
    ]
    digests = {fingerprint(samples) for samples in ({TRAIN: WHOLE}, {TRAIN: same}, *others)}
    assert len(digests) == 1 + len(others)
