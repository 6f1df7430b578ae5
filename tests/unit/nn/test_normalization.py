import math

import numpy as np
import pytest
import torch

from runner.nn.loading.normalizers import NORMALIZERS, normalized

TRAIN = np.array([[0.0, 5.0, -2.0], [4.0, 5.0, 2.0], [2.0, 5.0, 6.0]])
OTHER = np.array([[8.0, 5.0, 2.0], [2.0, 6.0, -6.0]])

EXPECTED = {
    "none": OTHER.tolist(),
    "linear": [[1.5, 0.75, 0.0], [0.0, 1.0, -2.0]],
    "range": [[1.25, 0.875, 0.5], [0.5, 1.0, -0.5]],
    "pointwise": [[3.0, 0.0, 0.0], [0.0, 0.0, -2.0]],
    "internal_mean": [[6.0, 0.0, 0.0], [0.0, 1.0, -8.0]],
    "samplewise": [[1.0, 0.0, -1.0], [1 / 3, 1.0, -1.0]],
    "mean_dispersion": [[1.5, 0.0, 0.0], [0.0, 0.0, -1.0]],
    "standardize": [[6 / math.sqrt(8 / 3), 0.0, 0.0], [0.0, 0.0, -8 / math.sqrt(32 / 3)]],
}


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_normaliser_is_fitted_on_the_training_set(name: str, dtype: torch.dtype) -> None:
    mapped = normalized(OTHER, NORMALIZERS[name](TRAIN), dtype)
    torch.testing.assert_close(mapped, torch.tensor(EXPECTED[name], dtype=dtype))


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("dtype", ["u1", "i8", "f8", "?", ">f4"])
def test_constant_data_are_normalised_without_a_division_by_zero(name: str, dtype: str) -> None:
    constant = np.full((3, 2), 1, dtype)
    assert np.isfinite(normalized(constant, NORMALIZERS[name](constant), torch.float32).numpy()).all()


@pytest.mark.parametrize("name", NORMALIZERS)
def test_integers_do_not_overflow(name: str) -> None:
    train = np.array([[0, 255], [255, 200], [255, 0]], np.uint8)
    mapped, wide = (normalized(array, NORMALIZERS[name](array), torch.float32) for array in (train, train.astype(float)))
    torch.testing.assert_close(mapped, wide)


def test_a_constant_sample_is_in_the_middle_of_the_others() -> None:
    data = np.array([[[3.0, 3.0], [3.0, 3.0]], [[0.0, 4.0], [2.0, 1.0]]])
    mapped = normalized(data, NORMALIZERS["samplewise"](data), torch.float32)
    assert mapped.tolist() == [[[0, 0], [0, 0]], [[-1, 1], [0, -0.5]]]


@pytest.mark.parametrize("name", [name for name in NORMALIZERS if name not in ("none", "samplewise", "internal_mean")])
@pytest.mark.parametrize("offset", [0, 1_700_000_000, -1e12])
def test_small_differences_of_large_numbers_are_kept(name: str, offset: float) -> None:
    steps = np.arange(200.0)[:, None]
    mapped = normalized(steps + offset, NORMALIZERS[name](steps + offset), torch.float32)
    expected = normalized(steps, NORMALIZERS[name](steps), torch.float32)
    torch.testing.assert_close(mapped, expected, rtol=0, atol=1e-6)


def test_large_data_are_mapped_in_blocks_as_numpy_does() -> None:
    data = np.random.default_rng(1).normal(7, 3, size=(40_000, 60)) * np.arange(1, 61)
    mapped = normalized(data, NORMALIZERS["standardize"](data), torch.float64)
    np.testing.assert_allclose(mapped.numpy(), (data - data.mean(0)) / data.std(0), rtol=0, atol=1e-12)


def test_data_that_may_not_be_written_to_stay_as_they_are() -> None:
    data = np.frombuffer(np.arange(6.0).tobytes()).reshape(3, 2)
    assert normalized(data, (2.0, 1.0), torch.float64).tolist() == ((data - 1) * 2).tolist()
