"""Tables in all forms, with broken cells, other orders and more columns."""

import gzip
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas

from tests.stress.drawn.by_numpy import (
    NORMALIZATIONS,
    WRONG,
    Known,
    Place,
    Values,
    check_model,
    check_own_sets,
    compare,
    normalization,
    predicted,
    scored,
    sure,
)

LABEL = "y"
NAMES = ("a", "b c", "größe", "x.1", 'quo"te', "com,ma", "1", "k=v", "-", "Z", "#", "p(no)", "class", "ñ;")
WORDS = ("red", "green", "blue, dark", "é", "NA", "x=y", "01", "1", "None", "true", "-3", "1e3", 'a "b"', "0")


class Table:
    """Random tables with the same columns."""

    def __init__(self, place: Place) -> None:
        self.place, rng = place, place.rng
        names = rng.sample(NAMES, rng.randint(2, 7))
        count = rng.randint(0, min(2, len(names) - 1))
        self.categories = {name: rng.sample(WORDS, rng.randint(2, 4)) for name in names[:count]}
        self.scales = {name: (rng.choice((0, 1, -50, 1e3)), rng.choice((0.1, 1, 3, 500))) for name in names[count:]}
        self.whole = {name for name in self.scales if rng.random() < 0.3}
        self.order = rng.sample(names, len(names))
        self.targets = rng.sample(("t1", "t,2", "3", "ü"), rng.choice((0, 0, 0, 1, 2)))
        self.used = rng.sample(self.order, rng.randint(1, len(names))) if rng.random() < 0.3 else []
        self.features_of = self.used or self.order
        self.labels: list[str] = (
            []
            if self.targets
            else rng.choice(
                (["no", "yes"], ["b", "a", "é", "C"], ["0", "1", "2"], ["1", "3"], ["True", "False"], ["a b", "a,b", "NA"])
            )
        )

    def rows(self, count: int) -> pandas.DataFrame:
        """Returns rows, each class and each category in one of them, if they are enough."""
        numbers = self.place.numbers
        found: dict[str, Any] = {}
        for name in self.order:
            if name in self.categories:
                found[name] = self._each(self.categories[name], count)
            else:
                mean, spread = self.scales[name]
                values = numbers.normal(mean, spread, count)
                found[name] = np.round(values * 10).astype(int) if name in self.whole else values
        for name in self.targets:
            found[name] = numbers.normal(2, 3, count)
        if self.labels:
            found[LABEL] = self._each(self.labels, count)
        return pandas.DataFrame(found)

    def _each(self, words: list[str], count: int) -> list[str]:
        found = [*words, *self.place.rng.choices(words, k=max(0, count - len(words)))][:count]
        self.place.rng.shuffle(found)
        return found

    def features(self, rows: pandas.DataFrame) -> Values:
        """Returns a column for each feature."""
        columns: list[Any] = []
        for name in self.features_of:
            if name in self.categories:
                columns += [rows[name] == word for word in sorted(self.categories[name])]
            else:
                columns.append(rows[name])
        return np.column_stack([np.asarray(column, np.float64) for column in columns])

    def scaled(self) -> npt.NDArray[np.bool_]:
        """Returns which features are normalized."""
        return np.concatenate(
            [[False] * len(self.categories[name]) if name in self.categories else [True] for name in self.features_of]
        )

    def names(self) -> list[str]:
        """Returns the names of the classes, in the order of their numbers."""
        if all(word.isdigit() for word in self.labels):
            return [str(number) for number in range(1 + max(map(int, self.labels), default=-1))]
        return sorted(self.labels)

    def loader(self, train: Path, validation: Path, normalized: str) -> dict[str, Any]:
        """Returns the keys of the loader."""
        answers = {"targets": self.targets} if self.targets else {"label": LABEL}
        files = {"data_file": str(train), "validation_file": str(validation)}
        categories = [name for name in self.categories if name in self.features_of]
        columns = {"columns": self.used} if self.used else {}
        return {"name": "table", **files, **answers, **columns, "categories": categories, "normalization": normalized}


def write(rows: pandas.DataFrame, path: Path, rng: random.Random) -> Path:
    """Writes a table in the form that its name says."""
    if path.suffix == ".parquet":
        rows.to_parquet(path, index=rng.random() < 0.2)
        return path
    separator = "\t" if ".tsv" in path.name else rng.choice(",;|\t")
    quoting = rng.choice((0, 0, 1, 2))
    end = rng.choice(("\n", "\n", "\r\n"))
    begin = rng.choice(("", "", "\ufeff"))
    text = begin + rows.to_csv(None, index=rng.random() < 0.2, sep=separator, quoting=quoting, lineterminator=end)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


FORMS = ("csv", "csv", "tsv", "csv.gz", "tsv.gz", "parquet")


def use_table(place: Place) -> str:
    """Trains on a table, and predicts and scores another."""
    rng, table = place.rng, Table(place)
    train = table.rows(rng.randint(20, 60))
    valid = table.rows(12)
    paths = [
        write(rows, place.folder / f"{name}.{rng.choice(FORMS)}", rng) for name, rows in (("train", train), ("valid", valid))
    ]
    kind = rng.choice(NORMALIZATIONS)
    snapshot, layers = place.train(table.loader(*paths, kind), bool(table.labels), len(table.targets))
    normalized = normalization(kind, table.features(train), table.scaled())
    known = Known(snapshot, layers, normalized, table.names())
    if rng.random() < 0.3:
        answers = list(valid[LABEL]) if table.labels else valid[table.targets].to_numpy(np.float64)
        check_own_sets(place, known, known.outputs(table.features(valid)), answers)
    rows = table.rows(rng.choice((1, 2, 9, 40, 3000)))
    outputs = known.outputs(table.features(rows))
    if known.names:
        rows, outputs = rows[sure(outputs)].reset_index(drop=True), outputs[sure(outputs)]
        if not len(rows):
            return "nothing sure"
    check_model(known, table.features(rows), outputs)
    broken = _broken(table, rows, rng) if rng.random() < 0.4 else []
    answers = [LABEL] if table.labels else table.targets
    order = rng.sample(list(rows.columns), len(rows.columns))
    shown = _with_more(rows[order], rng)
    form = rng.choice(FORMS) if not broken else rng.choice(("csv", "tsv", "csv.gz"))
    scored_path = write(shown, place.folder / f"new.{form}", rng)
    there = np.setdiff1d(np.arange(len(rows)), broken)
    wanted = list(rows[LABEL].iloc[there]) if table.labels else rows[table.targets].to_numpy(np.float64)[there]
    scored(place, known, str(scored_path), WRONG if broken else 0, outputs[there], wanted)
    left = shown.drop(columns=answers) if rng.random() < 0.5 else shown
    path = write(left, place.folder / f"newer.{form}", rng)
    code = WRONG if broken else 0
    if form in ("csv", "tsv") and rng.random() < 0.4:
        written = predicted(place, known, "-", code, stdin=path)
    else:
        written = predicted(place, known, str(path), code)
    compare(known, written, outputs, broken)
    return "a table with broken rows" if broken else "a table"


def _broken(table: Table, rows: pandas.DataFrame, rng: random.Random) -> list[int]:
    """Makes cells that no network can read; returns their rows."""
    found = sorted(rng.sample(range(len(rows)), min(len(rows) - 1, rng.randint(1, 3)))) if len(rows) > 1 else []
    for row in found:
        name = rng.choice(table.features_of)
        wrong = rng.choice(("", "unheard of")) if name in table.categories else rng.choice(("", "n/a", "nan", "inf", "1,5"))
        rows[name] = rows[name].astype(object)
        rows.at[row, name] = wrong
    return found


def _with_more(rows: pandas.DataFrame, rng: random.Random) -> pandas.DataFrame:
    """Returns a table with columns that the network does not take."""
    if rng.random() < 0.3:
        rows = rows.copy()
        rows.insert(rng.randint(0, len(rows.columns)), "more", [rng.choice(("x", "", "9")) for _ in range(len(rows))])
    return rows
