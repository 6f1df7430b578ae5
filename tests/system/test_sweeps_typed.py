"""What is typed for a sweep and cannot be meant so is one line, before any job begins; what jobs write is theirs alone."""

from pathlib import Path

import pandas
import pytest

from tests.conftest import Run
from tests.system.test_evaluate import CONF, write_table

SWEEP = ("-m", "conf=c", "seed=1,2", "report=false")
PREDICT = ("-m", "conf=c", "mode=predict", "snapshot=latest", "report=false")
REFUSED = {
    (*SWEEP, "hydra.sweep.subdir=all"): "hydra.sweep.subdir=all is the same for two jobs",
    (*SWEEP, "hydra.sweep.subdir=e_${decision.max_epochs}"): "hydra.sweep.subdir=e_2 is the same for two jobs",
    (*SWEEP, "hydra.sweep.subdir=..", "hydra.sweeper.max_batch_size=1"): "hydra.sweep.subdir=.. must be the name of a folder",
    (*SWEEP, "hydra.sweep.subdir=a/${seed}"): "hydra.sweep.subdir=a/${seed} must be the name of a folder",
    (*SWEEP, "hydra.sweep.dir=tr.csv"): "hydra.sweep.dir='tr.csv' cannot be made: File exists",
    (*SWEEP[:2], "seed=range(1,1)"): "seed=range(1,1) has no values",
    (*SWEEP[:2], "layers.fc1.learning_rate=interval(0,1)"): "layers.fc1.learning_rate=interval(0,1): an interval has no end",
    (*SWEEP, "layers.fc1.lerning_rate=0.1"): "layers.fc1.lerning_rate is not a key",
    (*SWEEP, "snapshotter.interval=0"): "snapshotter.interval=0 must be at least 1",
    (*SWEEP[:2], "optimizer=sgd,adamw", "optimizer.lr=-1"): "optimizer.lr=-1 must be between",
    ("-m",): "conf=NAME says what to run; known: c, ",
    ("-m", "decision.max_epochs=1,2"): "conf=NAME says what to run; known: c, ",
    (*PREDICT, "data=va.csv,other.csv", "output=o.csv"): "output=o.csv is the same for two jobs",
}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "c.yaml").write_text(CONF)
    for number, (name, rows) in enumerate({"tr": 200, "va": 60, "other": 50}.items(), 1):
        write_table(tmp_path / f"{name}.csv", number, rows)
    return tmp_path


def test_what_cannot_be_meant_is_one_line(veles_run: Run, tables: Path) -> None:
    for typed, expected in REFUSED.items():
        (line,) = veles_run(*typed, code=2).stderr.splitlines()
        assert line.startswith(f"veles-run: {expected}"), typed
    assert not (tables / "snapshots").exists()
    assert not (tables / "multirun").exists()


def test_each_job_predicts_into_a_file_of_its_own(veles_run: Run, tables: Path) -> None:
    veles_run("conf=c", "seed=1")
    (tables / "bad.csv").write_text("a,b\n1,2\n3,x\n")
    done = veles_run(
        *PREDICT, "seed=1", "data=va.csv,other.csv,bad.csv", "output=${data}.out.csv", "hydra.sweep.dir=there", code=1
    )
    (line,) = done.stderr.splitlines()
    assert "data=bad.csv" in line
    assert line.endswith(": some of the data could not be read")
    made = [pandas.read_csv(tables / f"{name}.csv.out.csv")["class"].isna() for name in ("va", "other", "bad")]
    assert [(len(empty), sum(empty)) for empty in made] == [(60, 0), (50, 0), (2, 1)]
    assert list(pandas.read_csv(tables / "there" / "sweep.csv")["status"]) == ["finished", "finished", "failed"]
    for again in (*PREDICT, "output=${nothing}"), (*PREDICT, "output=${seed"):
        assert "output" in veles_run(*again, "data=va.csv,other.csv", code=2).stderr


@pytest.mark.parametrize(
    ("swept", "values", "others"),
    [
        ("layers.fc1", ["{learning_rate: 0.1}", "{learning_rate: 0.2}"], ["layers.fc1={weights_decay: 0.01}"]),
        ("layers.fc1", ["{learning_rate: 0.1}", "{gradient_momentum: 0.5}"], ["layers.fc1.learning_rate=0.05"]),
        ("ema", ["null", "0.9"], ["~layers.out.learning_rate"]),
        ("seed", ["${loader.minibatch_size}", "3"], ["loader.minibatch_size=7"]),
    ],
)
def test_a_job_is_the_run_that_the_same_words_are(
    swept: str, values: list[str], others: list[str], veles_run: Run, tables: Path
) -> None:
    words = ["conf=c", "seed=1", "decision.max_epochs=2", "report=false", "plotters=false"]
    words = [word for word in words if not word.startswith(f"{swept}=")]
    veles_run("-m", *words, f"{swept}={','.join(values)}", *others, "hydra.sweep.dir=sweep")
    for number, value in enumerate(values):
        veles_run(*words, f"{swept}={value}", *others, f"hydra.run.dir=alone/{number}")
        job, alone = (pandas.read_json(tables / top / str(number) / "metrics.jsonl", lines=True) for top in ("sweep", "alone"))
        assert job["loss"].tolist() == alone["loss"].tolist()
    assert pandas.read_csv(tables / "sweep" / "sweep.csv", keep_default_na=False)[swept].nunique() == 2


def test_each_column_of_the_table_has_a_name_of_its_own(veles_run: Run, tables: Path) -> None:
    veles_run(
        "-m",
        "conf=c",
        "seed=1,2",
        "report=false",
        "snapshotter.prefix=${mode}",
        "snapshotter.directory=null",
        "hydra.sweep.dir=first",
    )
    snapshots = [str(next((tables / "first" / name).glob("train_current*")).relative_to(tables)) for name in "01"]
    veles_run("-m", "mode=evaluate", f"snapshot={','.join(snapshots)}", "hydra.sweep.dir=second")
    table = (tables / "second" / "sweep.csv").read_text().splitlines()
    columns = table[0].split(",")
    assert len(set(columns)) == len(columns)
    assert sorted(line.split(",")[columns.index("typed.snapshot")] for line in table[1:]) == snapshots
