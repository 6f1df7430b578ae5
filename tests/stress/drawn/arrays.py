"""Arrays of any shape and type."""

from typing import Any

import numpy as np
import pandas

from tests.stress.drawn.by_numpy import (
    NORMALIZATIONS,
    Known,
    Place,
    check_model,
    compare,
    normalization,
    predicted,
    scored,
    sure,
)


def use_arrays(place: Place) -> str:
    """Trains on arrays of a shape, and predicts and scores others."""
    rng, numbers = place.rng, place.numbers
    shape = rng.choice(((3,), (4, 5), (2, 3, 2)))
    kind, dtype = rng.choice(NORMALIZATIONS), rng.choice(("u1", ">i2", "f4", "<f8", ">f4", "i8", "f2", "u4", "?"))
    targets = rng.choice(((), (), (1,), (2,), (2, 2)))
    names = [] if targets else [str(number) for number in range(rng.randint(2, 4))]

    def made(count: int) -> dict[str, Any]:
        data = (numbers.normal(20, 9, (count, *shape)) > 20 if dtype == "?" else numbers.normal(20, 3, (count, *shape))).astype(
            dtype
        )
        if rng.random() < 0.3:
            data = np.asfortranarray(data)
        if targets:
            return {"data": data, "targets": numbers.normal(1, 2, (count, *targets)).astype(rng.choice(("f4", ">f8")))}
        labels = np.arange(count) % len(names)
        numbers.shuffle(labels)
        return {"data": data, "labels": labels.astype(rng.choice(("i8", "u1", ">i4", "f4")))}

    training = made(40)
    answer = "targets" if targets else "labels"
    np.savez(place.folder / "train.npz", **training)
    np.savez(place.folder / "valid.npz", **made(10))
    keys = {"targets": ["targets"]} if targets else {"label": "labels"}
    loader = {"name": "table", "data_file": "train.npz", "validation_file": "valid.npz", "normalization": kind, **keys}
    size = list(targets) if len(targets) > 1 else int(np.prod(targets))
    snapshot, layers = place.train(loader, not targets, size)  # type: ignore[arg-type]
    known = Known(snapshot, layers, normalization(kind, training["data"].reshape(40, -1)), names)
    new = made(rng.choice((1, 5, 700)))
    outputs = known.outputs(new["data"].reshape(len(new["data"]), -1))
    if names:
        chosen = sure(outputs)
        new, outputs = {name: array[chosen] for name, array in new.items()}, outputs[chosen]
        if not len(outputs):
            return "nothing sure"
        wanted: Any = [names[int(label)] for label in new[answer]]
    else:
        wanted = new[answer].reshape(len(outputs), -1).astype(np.float64)
    if new["data"].dtype.isnative and new["data"].dtype.kind != "u":
        check_model(known, new["data"], outputs)
    np.savez_compressed(place.folder / "new.npz", **new)
    scored(place, known, "new.npz", 0, outputs, wanted)
    form = rng.choice(("npy", "npz", "whole", "csv"))
    if form == "npy":
        np.save(place.folder / "newer.npy", new["data"])
    elif form == "csv":
        flat = new["data"].reshape(len(outputs), -1)
        pandas.DataFrame(flat.astype(np.float64)).to_csv(place.folder / "newer.csv", index=False, header=False)
    else:
        np.savez(place.folder / "newer.npz", **(new if form == "whole" else {"data": new["data"]}))
    name = f"newer.{'npz' if form == 'whole' else form}"
    compare(known, predicted(place, known, name, 0), outputs, [])
    return "arrays"


MODES = ("RGB", "RGB", "L", "RGBA", "P", "1", "CMYK", "LA")
