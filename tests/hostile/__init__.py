"""Hostile pickles. What they would do is harmless: each makes a folder, its marker."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.hostile import arguments, building, reaching, running, sizes
from tests.hostile.assemble import text, whole


@dataclass(frozen=True)
class Sample:
    """A hostile pickle.

    Attributes:
        name: what it tries.
        data: the pickle.
        fires: whether Python's own unpickler makes its marker.
        message: what the error says.
    """

    name: str
    data: bytes
    fires: bool = False
    message: str = ""


GROUPS = (
    *(running.calls, running.dotted, running.reexported, reaching.attributes, reaching.extensions, reaching.libraries),
    *(reaching.nested, building.states, sizes.tricks, sizes.bombs, sizes.lengths, sizes.nestings, arguments.values),
)


def samples(folder: Path) -> list[Sample]:
    """Makes all samples; the marker of each is the folder of its name below the given one."""
    made: list[Sample] = []

    def add(name: str, make: Callable[[bytes], bytes], *, fires: bool = False, raw: bool = False, message: str = "") -> None:
        body = make(text(str(folder / name)))
        made.append(Sample(name, body if raw else whole(body), fires, message))

    for group in GROUPS:
        for name, make, options in group():
            add(f"{group.__name__}_{name}", make, **options)
    return made
