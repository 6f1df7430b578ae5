import math
import pickle

import pytest
import torch

from runner.nn.core.random_stream import Stream


def draw(stream: Stream) -> list[torch.Tensor]:
    return [
        stream.permutation(50),
        stream.uniform((3, 4), 0.5, torch.float32),
        stream.gaussian((3, 4), 2.0, torch.float64),
        stream.bernoulli(torch.Size((5, 7)), 0.5),
    ]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_streams_repeat_and_differ_by_seed_and_by_name() -> None:
    assert same(draw(Stream(1, "a")), draw(Stream(1, "a")))
    assert not same(draw(Stream(1, "a")), draw(Stream(1, "b")))
    assert not same(draw(Stream(1, "a")), draw(Stream(2, "a")))


def test_a_pickled_stream_goes_on_where_it_was() -> None:
    stream = Stream(1, "a")
    draw(stream)
    assert same(draw(pickle.loads(pickle.dumps(stream))), draw(stream))


def test_streams_leave_the_global_generator_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    draw(Stream(1, "a"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("probability", [0.0, 1 / 65536, 0.25, 0.5, 0.999, 1 - 1e-9, 1.0])
def test_bernoulli_has_its_probability(probability: float) -> None:
    drawn = Stream(3, "a").bernoulli(torch.Size((999, 101)), probability)
    assert drawn.shape == (999, 101)
    deviation = math.sqrt(probability * (1 - probability) / drawn.numel())
    assert abs(drawn.double().mean().item() - probability) <= 6 * deviation + 1e-8
