"""Confs that `veles-run new` makes for random tables: each trains, and predicts a table of the same columns."""

import csv
import io

from tests.stress.drawn.by_numpy import Place
from tests.stress.drawn.tables import FORMS, LABEL, Table, write
from tests.stress.rounds import Failure


def use_new(place: Place) -> str:
    """Begins with a table, trains by what was made, and predicts the rows of the table again."""
    rng, table = place.rng, Table(place)
    rows = table.rows(rng.choice((12, 40, 150)))
    path = write(rows, place.folder / f"train.{rng.choice(FORMS)}", rng)
    answer = LABEL if table.labels else table.targets[0]
    place.type("new", "net", "--from", str(path), "--label", answer)
    place.type("net", "decision.max_epochs=2", "report=false", "plotters=false", "snapshotter.directory=snapshots")
    columns = [name for name in rows.columns if name != answer]
    new = write(rows[rng.sample(columns, len(columns))], place.folder / f"new.{rng.choice(FORMS)}", rng)
    snapshot = place.folder / "snapshots/net_current.5.pickle.gz"
    written = [*csv.reader(io.StringIO(place.type(f"snapshot={snapshot}", "mode=predict", f"data={new}", "output=-").stdout))]
    if len(written) != 1 + len(rows):
        raise Failure(f"{len(written) - 1} predictions of {len(rows)} rows")
    classes = {row[0] for row in written[1:]}
    if table.labels and not classes <= {*table.labels, *(str(number) for number in range(4))}:
        raise Failure(f"classes {classes} of {table.labels}")
    return "a conf for a table"
