"""The restricted unpickler loads what users have, as Python's own does."""

import io
import pickle
from typing import Any

import pytest

from runner.snapshots.capture.pickler import StatePickler
from runner.snapshots.unpickling.allowed import Allowed
from runner.snapshots.unpickling.unpickler import Unpickler
from tests.canonical import canonical
from tests.objects import OBJECTS
from tests.placing import placed

TRUSTED = ("tests.own",)


def dumps(value: Any) -> bytes:
    sink = io.BytesIO()
    StatePickler(sink).dump(value)
    return sink.getvalue()


def loads(data: bytes, trusted: tuple[str, ...] = TRUSTED) -> Any:
    return Unpickler(placed(data), Allowed(trusted)).load()


def test_there_are_enough() -> None:
    assert len(OBJECTS) >= 200


@pytest.mark.filterwarnings("ignore:(.|\n)*(deprecated|Sparse|ComplexHalf|matrix subclass|Detected call of|nested_tensor)")
@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_equal_after_restore(name: str) -> None:
    value = OBJECTS[name]()
    data = dumps(value)
    assert canonical(loads(data)) == canonical(value)
    assert canonical(loads(data)) == canonical(pickle.loads(data))
