"""Images of all modes and formats, in folders for each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.stress.drawn.by_numpy import (
    NORMALIZATIONS,
    WRONG,
    Failure,
    Known,
    Place,
    Values,
    compare,
    normalization,
    predicted,
    scored,
    sure,
)

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
}
"""What shows an image upright, by its orientation."""
ENDINGS = {"RGB": ("png", "tiff", "bmp"), "L": ("png", "bmp"), "CMYK": ("tiff",), "1": ("png", "bmp"), "P": ("png", "gif")}


def _image(place: Place, path: Path, grayscale: bool) -> Values:
    """Writes an image; returns its values as docs/data.md says, by what is written."""
    rng = place.rng
    mode = rng.choice(("RGB", "RGB", "L", "RGBA", "P", "1", "CMYK", "LA"))
    image = Image.fromarray(place.numbers.integers(0, 200, (5, 4, 3), np.uint8))
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(place.numbers.integers(0, 256, (5, 4), np.uint8)))
    image = image.convert(mode)
    ending = rng.choice(ENDINGS.get(mode, ("png",)))
    orientation = rng.choice((1, 2, 3, 4)) if mode in ("RGB", "L") and ending != "bmp" else 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(
        path.with_name(f"{path.name}.{rng.choice((ending, ending.upper()))}"), **({"exif": exif} if orientation > 1 else {})
    )
    if mode in ("RGBA", "LA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    image = image.convert("L" if grayscale else "RGB")
    if orientation > 1:
        image = image.transpose(TURNED[orientation])
    found = np.asarray(image, np.float64)
    return found.ravel() if grayscale else np.moveaxis(found, 2, 0).ravel()


@dataclass
class Photo:
    """An image of a class, and its values."""

    path: Path
    name: str
    values: Values


def _photos(place: Place, folder: str, names: list[str], each: int, grayscale: bool) -> list[Photo]:
    """Writes images in a folder for each class, and below it."""
    found = []
    for name in names:
        for number in range(each):
            inner = place.folder / folder / name / place.rng.choice(("", "", "in/ner", "ü"))
            stem = f"{place.rng.choice(('i', 'ï', 'a b', 'x,y'))}{number}"
            values = _image(place, inner / stem, grayscale)
            (path,) = inner.glob(f"{stem}.*")
            found.append(Photo(path, name, values))
    return found


def use_images(place: Place) -> str:
    """Trains on images in folders, and predicts and scores others."""
    rng = place.rng
    names = sorted(rng.sample(("a", "b b", "é", "0", "10", "9", "C"), rng.randint(2, 4)))
    grayscale, kind = rng.random() < 0.4, rng.choice(NORMALIZATIONS)
    training = _photos(place, "train", names, 6, grayscale)
    _photos(place, "valid", names, 2, grayscale)
    loader = {"name": "images", "data_dir": "train", "validation_dir": "valid", "grayscale": grayscale, "normalization": kind}
    snapshot, layers = place.train(loader, True, 0)
    known = Known(snapshot, layers, normalization(kind, np.array([photo.values for photo in training])), names)
    new = _photos(place, "new", names, rng.randint(1, 4), grayscale)
    outputs = known.outputs(np.array([photo.values for photo in new]))
    chosen = sure(outputs)
    for photo, is_sure in zip(new, chosen, strict=True):
        if not is_sure:
            photo.path.unlink()
    if not chosen.any():
        return "nothing sure"
    new, outputs = [photo for photo, is_sure in zip(new, chosen, strict=True) if is_sure], outputs[chosen]
    paths = [photo.path for photo in new]
    if rng.random() < 0.4:
        broken = place.folder / "new" / names[0] / rng.choice(("bad.png", "zz.jpg"))
        broken.write_bytes(rng.choice((b"", b"no image", paths[0].read_bytes()[:40])))
        paths.append(broken)
    code = WRONG if len(paths) > len(new) else 0
    scored(place, known, "new", code, outputs, [photo.name for photo in new])
    written = predicted(place, known, "new", code)
    place_of = {str(name): number for number, name in enumerate(written["file"])}
    if sorted(place_of) != sorted(str(path.relative_to(place.folder / "new")) for path in paths):
        raise Failure(f"predictions of {sorted(place_of)}")
    order = [place_of[str(path.relative_to(place.folder / "new"))] for path in paths]
    wanted = np.concatenate([outputs, np.full((len(paths) - len(new), len(names)), np.nan)])
    compare(known, written.iloc[order].reset_index(drop=True), wanted, list(range(len(new), len(paths))))
    return "images with a broken one" if code else "images"
