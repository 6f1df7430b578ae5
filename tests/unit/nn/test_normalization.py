import numpy as np
import pytest
import torch

from runner.nn.loading.normalizers import NORMALIZERS, normalized

TRAIN = torch.tensor([[0.0, 5.0, -2.0], [4.0, 5.0, 2.0], [2.0, 5.0, 6.0]])
OTHER = torch.tensor([[8.0, 5.0, 2.0], [2.0, 6.0, -6.0]])

EXPECTED = {
    "none": OTHER.tolist(),
    "linear": [[1.5, 0.75, 0.0], [0.0, 1.0, -2.0]],
    "range": [[1.25, 0.875, 0.5], [0.5, 1.0, -0.5]],
    "pointwise": [[3.0, 0.0, 0.0], [0.0, 0.0, -2.0]],
    "internal_mean": [[6.0, 0.0, 0.0], [0.0, 1.0, -8.0]],
    "samplewise": [[1.0, 0.0, -1.0], [1 / 3, 1.0, -1.0]],
    "mean_dispersion": [[1.5, 0.0, 0.0], [0.0, 0.0, -1.0]],
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_a_normaliser_is_fitted_on_the_training_set(name: str) -> None:
    torch.testing.assert_close(normalized(OTHER.clone(), NORMALIZERS[name](TRAIN)), torch.tensor(EXPECTED[name]))


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64, torch.bool])
def test_constant_data_are_normalised_without_a_division_by_zero(name: str, dtype: torch.dtype) -> None:
    constant = torch.full((3, 2), 1, dtype=dtype)
    assert np.isfinite(normalized(constant.float(), NORMALIZERS[name](constant)).numpy()).all()


@pytest.mark.parametrize("name", NORMALIZERS)
def test_integers_do_not_overflow(name: str) -> None:
    train = torch.tensor([[0, 255], [255, 200], [255, 0]], dtype=torch.uint8)
    mapped = normalized(train.double(), NORMALIZERS[name](train))
    torch.testing.assert_close(mapped, normalized(train.double(), NORMALIZERS[name](train.double())))


def test_a_constant_sample_is_in_the_middle_of_the_others() -> None:
    data = torch.tensor([[[3.0, 3.0], [3.0, 3.0]], [[0.0, 4.0], [2.0, 1.0]]])
    assert normalized(data, NORMALIZERS["samplewise"](data)).tolist() == [[[0, 0], [0, 0]], [[-1, 1], [0, -0.5]]]
