"""What users of Hydra expect: names, paths, groups, defaults, sweeps, help, and completion by the shell itself."""

import re
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import header_of
from tests.conftest import VELES_RUN, Run
from tests.system.test_resume import final_snapshot

SMALL = ("loader.train_size=300", "loader.validation_size=100", "decision.max_epochs=1")
OWN = """defaults: [mnist_small, optimizer: adam, _self_]
loader: {train_size: 300, validation_size: 100}
optimizer: {lr: 0.005}
decision: {max_epochs: 1}
"""


def optimizer(path: Path) -> dict:
    return header_of(path).config["optimizer"]


def test_a_conf_is_a_name_or_the_path_of_a_file(tmp_path: Path, veles_run: Run) -> None:
    for folder in ("conf", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"in_{folder}.yaml").write_text(OWN)
    for typed in (
        "in_conf",
        "conf/in_conf.yaml",
        "in_conf.yaml",
        "elsewhere/in_elsewhere.yaml",
        tmp_path / "elsewhere/in_elsewhere.yaml",
    ):
        output = veles_run(typed, "plotters=false").stdout
        name = Path(typed).stem
        assert final_snapshot(output).startswith(f"outputs/{name}/")
        assert optimizer(tmp_path / final_snapshot(output)) == {"_target_": "torch.optim.Adam", "lr": 0.005}
    command = re.search("^Extend: veles-run (.*)$", output, re.MULTILINE)[1].split()
    assert "Epoch 2" in veles_run(*command, "plotters=false").stdout


@pytest.mark.parametrize("name", ["sub/my net,=1.yaml", "[é].yml"])
def test_paths_of_any_characters(name: str, tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_text(OWN)
    output = veles_run(name, "plotters=false").stdout
    command = shlex.split(re.search("^Extend: veles-run (.*)$", output, re.MULTILINE)[1])
    assert "Epoch 2" in veles_run(*command, "plotters=false").stdout


def test_a_plus_adds_no_key(tmp_path: Path, veles_run: Run) -> None:
    """A key that counts for nothing would be in the snapshot, which could then not be used."""
    for typed in ("+decision.foo=1", "+zzz=1", "++zzz.a=1", "+loader.zzz=1"):
        assert "is not a key" in veles_run("mnist_small", typed, code=2).stderr
    output = veles_run("+conf=mnist_small", *SMALL, "++seed=3", "+hydra.job.env_set.X=1", "plotters=false").stdout
    assert header_of(tmp_path / final_snapshot(output)).config["seed"] == 3


def test_a_group_is_chosen_with_and_without_a_default(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "conf" / "loader").mkdir(parents=True)
    (tmp_path / "conf" / "own.yaml").write_text(OWN)
    (tmp_path / "conf" / "loader" / "tiny.yaml").write_text("train_size: 120\n")
    output = veles_run("own", "optimizer=sgd", "loader=tiny", "plotters=false").stdout
    path = tmp_path / final_snapshot(output)
    assert optimizer(path) == {"_target_": "torch.optim.SGD", "lr": 0.005, "momentum": 0.9}  # the file comes after its defaults
    assert header_of(path).config["loader"]["train_size"] == 120
    output = veles_run("mnist_small", *SMALL, "optimizer=adamw", "optimizer.lr=0.002", "plotters=false").stdout
    path = final_snapshot(output)
    assert optimizer(tmp_path / path) == {"_target_": "torch.optim.AdamW", "lr": 0.002}
    again = veles_run("mnist_small", f"snapshot={path}", "optimizer=adamw", "optimizer.lr=0.002", "decision.max_epochs=2")
    assert "Epoch 2" in again.stdout


@pytest.mark.parametrize(
    "typed", ["optimizer._target_=torch.optim.NAdam", "optimizer={_target_: torch.optim.NAdam, lr: 0.001}"]
)
def test_an_optimizer_takes_the_place_of_the_layers_settings(typed: str, tmp_path: Path, veles_run: Run) -> None:
    output = veles_run("mnist_small", *SMALL, typed, "plotters=false").stdout
    assert "takes the place of layers.fc1.learning_rate, layers.out.learning_rate" in output
    config = header_of(tmp_path / final_snapshot(output)).config
    assert config["optimizer"]["_target_"] == "torch.optim.NAdam"
    assert "learning_rate" not in config["layers"]["fc1"]


def test_defaults_of_layers_are_for_those_that_have_none(tmp_path: Path, veles_run: Run) -> None:
    output = veles_run("mnist_small", *SMALL, "layer_defaults={gradient_momentum: 0.5}", "plotters=false").stdout
    more = ("decision.max_epochs=2", "plotters=false")
    done = veles_run(f"snapshot={final_snapshot(output)}", "layer_defaults.gradient_momentum=0.7", *more, code=2)
    assert "layer_defaults.gradient_momentum changes nothing" in done.stderr
    done = veles_run(f"snapshot={final_snapshot(output)}", "layers.fc1.gradient_momentum=0.7", *more)
    assert re.search(r"layers\.fc1\.gradient_momentum\W+0\.5\W+0\.7", done.stdout)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "own.yaml").write_text(
        "loader: {name: mnist, train_size: 300, validation_size: 100}\ndecision: {max_epochs: 1}\n"
        "layer_defaults: {learning_rate: 0.2}\n"
        "layers: {a: {type: all2all_tanh, output_sample_shape: 5}, out: {type: softmax, learning_rate: 0.1}}\n"
    )
    output = veles_run("own", "plotters=false").stdout
    rates = ("layers.a.learning_rate=0.3", "layers.out.learning_rate=0.4")
    done = veles_run(f"snapshot={final_snapshot(output)}", *rates, *more)
    assert re.search(r"layers\.a\.learning_rate\W+0\.2\W+0\.3", done.stdout)
    assert re.search(r"layers\.out\.learning_rate\W+0\.1\W+0\.4", done.stdout)


def test_the_jobs_of_a_sweep_have_one_seed_and_each_failure_is_told(tmp_path: Path, veles_run: Run) -> None:
    sweep = ("-m", "mnist_small", *SMALL, "plotters=false")
    done = veles_run(*sweep, "loader.minibatch_size=50,0,100,-1", code=2)
    seeds = {header_of(path).config["seed"] for path in tmp_path.glob("multirun/mnist_small/*/*/*/*_validation_*")}
    assert len(seeds) == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("veles-run: ")]
    assert [re.search(r"job (\d).*minibatch_size=(\S+) must be", line).groups() for line in told] == [("1", "0"), ("3", "-1")]
    for number in (1, 3):
        (log,) = tmp_path.glob(f"multirun/*/*/*/{number}/veles-run.log")
        assert "must be at least 1" in log.read_text()
    done = veles_run(*sweep, "seed=7,8")
    seeds = {header_of(path).config["seed"] for path in tmp_path.glob("multirun/mnist_small/*/*/*/*_validation_*")}
    assert len(seeds) == 3
    assert seeds > {7, 8}


SWEPT = "mode: MULTIRUN\nsweeper: {params: {seed: '1,2'}}\n"


@pytest.mark.parametrize(
    "files",
    [
        {"swept": "defaults: [mnist_small, _self_]\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n"},
        {"swept": "defaults: [mnist_small, sweeps: two, _self_]\n", "sweeps/two": f"# @package hydra\n{SWEPT}"},
        {"swept": "defaults: [mnist_small, sweeps@hydra: two, _self_]\n", "sweeps/two": SWEPT},
    ],
    ids=["a section", "a file for hydra", "a file that is put there"],
)
def test_a_conf_file_may_be_a_sweep(files: dict[str, str], tmp_path: Path, veles_run: Run) -> None:
    for name, text in files.items():
        (tmp_path / "conf" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "conf" / f"{name}.yaml").write_text(text)
    veles_run("swept", *SMALL)
    seeds = {header_of(path).config["seed"] for path in tmp_path.glob("multirun/*/*/*/*/*_validation_*")}
    assert seeds == {1, 2}
    veles_run("-m", "conf=swept,mnist_small", *SMALL, "report=false", "hydra.sweep.dir=both", "seed=3")
    assert len(list(tmp_path.glob("both/*/result.json"))) == 2


def test_a_job_that_cannot_write_its_snapshots_does_not_end_the_sweep(tmp_path: Path, veles_run: Run) -> None:
    sweep = ("-m", "mnist_small", *SMALL, "plotters=false", "snapshotter.on_error=warn", "seed=1")
    done = veles_run(*sweep, "snapshotter.directory=/proc/none,good", code=1)
    assert len(list((tmp_path / "good").glob("*_validation_*"))) == 1
    assert "job 0" in done.stderr.splitlines()[-1]


def test_what_does_not_run_leaves_no_folder(tmp_path: Path, veles_run: Run) -> None:
    output = veles_run("mnist_small", *SMALL, "plotters=false", "snapshotter.directory=kept").stdout
    (folder,) = tmp_path.glob("outputs/mnist_small/*/*")
    snapshot = f"snapshot={final_snapshot(output)}"
    for arguments, code in [
        ((snapshot, "mode=evaluate"), 0),
        ((snapshot,), 0),
        ((snapshot, "seed=9"), 2),
        (("mnist_small", "snapshotter.interval=0"), 2),
        (("mnist_small", f"graph={tmp_path}/graph.dot"), 0),
    ]:
        veles_run(*arguments, code=code)
        assert list(tmp_path.glob("outputs/*/*/*")) == [folder]
    veles_run("mnist_small", "snapshotter.interval=0", "hydra.run.dir=mine", code=2)
    assert not (tmp_path / "mine").exists()


def test_the_version_and_the_keys_of_a_conf(veles_run: Run) -> None:
    for flag in ("--version", "--versio", "--v"):
        assert veles_run(flag).stdout == f"veles-run {version('veles-runner')}\n"
    for arguments in (("mnist_small", "--help"), ("--help", "conf=mnist_small")):
        text = veles_run(*arguments, "decision.max_epochs=77").stdout
        assert "decision.max_epochs=77   (int or null)\n    Epochs in all." in text
        assert "layers.fc1.learning_rate=0.1   (float)\n    Learning rate of the weights." in text
        assert "loss_function=softmax   (softmax or mse)" in text
    assert "optimizer: adam, adamw, none, sgd" in veles_run("--help").stdout


COMPLETED = {
    "mnist_s": "mnist_small",
    "conf=mnist_s": "conf=mnist_small",
    "mnist_small decision.max": "decision.max_epochs=",
    "mnist_small layers.fc1.learning_rate_": "layers.fc1.learning_rate_bias=",
    "mnist_small mode=ev": "mode=evaluate",
    "mnist_small optimizer=adamw": "optimizer=adamw",
    "mnist_small opt": "optimizer=",
    "mnist_small snapshot=sna": "snapshot=snaps/",
    "mnist_small snapshot=snaps/a": "snapshot=snaps/a.pickle.gz",
    "sub/o": "sub/own.yaml",
    "--ver": "--version",
    "ex": "examples",
    "new flowers --fr": "--from",
    "new flowers --from sn": "snaps/",
    "import sub/o": "sub/own.yaml",
}


def test_the_shell_completes_what_is_typed(tmp_path: Path) -> None:
    for name in ("snaps/a.pickle.gz", "sub/own.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    lines = "".join(
        f"COMP_LINE='veles-run {typed}' COMP_POINT=999 COMP_WORDS=(veles-run {typed}) COMP_CWORD={len(typed.split())}\n"
        "hydra_bash_completion\necho ${COMPREPLY[@]}\n"
        for typed in COMPLETED
    )
    script = f'eval "$(veles-run -sc install=bash)"\n{lines}'
    path = f"{Path(VELES_RUN[0]).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=True, timeout=200
    )
    assert dict(zip(COMPLETED, done.stdout.splitlines(), strict=True)) == COMPLETED


def test_a_group_without_an_option_is_chosen_and_taken_away(tmp_path: Path, veles_run: Run) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "open.yaml").write_text(
        OWN.replace("optimizer: adam", "optimizer: null").replace("optimizer: {lr: 0.005}\n", "")
    )
    (tmp_path / "conf" / "own.yaml").write_text(OWN.replace("optimizer: {lr: 0.005}\n", ""))
    chosen = veles_run("open", "optimizer=adamw").stdout
    assert optimizer(tmp_path / final_snapshot(chosen))["_target_"] == "torch.optim.AdamW"
    for typed in (("own", "optimizer=null"), ("open",)):
        assert not optimizer(tmp_path / final_snapshot(veles_run(*typed).stdout))


def test_of_a_group_that_is_typed_twice_the_last_counts(tmp_path: Path, veles_run: Run) -> None:
    done = veles_run("mnist_small", *SMALL, "optimizer=adam", "optimizer=sgd")
    assert optimizer(tmp_path / final_snapshot(done.stdout))["_target_"] == "torch.optim.SGD"
    assert "optimizer is given 2 times: optimizer=sgd counts" in done.stderr


def test_what_did_not_run_leaves_no_folder_of_the_users_own(tmp_path: Path, veles_run: Run) -> None:
    for folder in ("mine/first", "mine/${now:%Y}/${hydra.job.name}", "'mine/a b'"):
        veles_run("mnist_small", f"hydra.run.dir={folder}", "loader.data_dir=nowhere", code=2)
        assert not (tmp_path / "mine").exists()
    (tmp_path / "mine" / "second").mkdir(parents=True)
    for folder in ("mine/second", "mine/second/below"):
        veles_run("mnist_small", f"hydra.run.dir={folder}", "loader.data_dir=nowhere", code=2)
    assert (tmp_path / "mine" / "second").is_dir()
    assert not (tmp_path / "mine" / "second" / "below").exists()
