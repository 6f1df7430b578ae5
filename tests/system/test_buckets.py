"""Snapshots in buckets, from the command line and below it, as Amazon's own client sees them."""

import random
import re
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from runner.errors import ConfigError, SnapshotNotFoundError, StoreAwayError, StoreError
from runner.snapshots.remote import remote_store, services
from runner.snapshots.remote.remote_store import RemoteStore
from runner.snapshots.restoring.restore import restore
from runner.snapshots.stores import patience
from runner.snapshots.stores.file import FileStore
from tests import forked
from tests.bucket_faults import Stubborn, cut_often, kill_writers
from tests.buckets import SECRET, Bucket, served_by
from tests.conftest import Run
from tests.contract.test_stores import NONE, content, header, read
from tests.proxy import Proxy, proxy
from tests.servers import free_port
from tests.states import differences, state_of
from tests.system.test_resume import final_snapshot

SMALL = ("conf=mnist_small", "seed=7", "loader.train_size=300", "loader.validation_size=60")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(remote_store, "PATIENCE", 2.0)
    monkeypatch.setattr(remote_store, "IMPATIENCE", 1.0)


def epochs(count: int) -> str:
    return f"decision.max_epochs={count}"


def state_in(bucket: Bucket, location: str, folder: Path) -> dict[str, bytes]:
    path = folder / "downloaded.pickle"
    bucket.client.download_file(bucket.name, location.removeprefix(f"s3://{bucket.name}/"), str(path))
    return state_of(path)


def test_run_goes_on_from_a_bucket_to_the_same_bytes(veles_run: Run, bucket: Bucket, tmp_path: Path) -> None:
    here = f"snapshotter.directory={bucket.url}"
    whole = final_snapshot(veles_run(*SMALL, epochs(3), "snapshotter.directory=local").stdout)
    first = veles_run(*SMALL, epochs(1), here, "snapshotter.keep_last=1").stdout
    assert f"Snapshots: {bucket.url}" in first
    second = veles_run(*SMALL, epochs(3), here, "snapshotter.keep_last=1", "snapshot=auto").stdout
    assert f"Resuming from {final_snapshot(first)}" in second
    (key,) = bucket.objects()  # one run, of which the last is kept; and no claim is left
    assert f"s3://{bucket.name}/{key}" == final_snapshot(second)
    assert differences(state_of(tmp_path / whole), state_in(bucket, final_snapshot(second), tmp_path)) == []
    # Of this place, the call must say as much as the snapshot does.
    refused = veles_run("snapshot=downloaded.pickle", epochs(4), code=2).stderr
    assert "names a folder to write to, and nothing in this call says the same: confirm it with" in refused
    assert f" snapshotter.directory={bucket.url}," in refused
    scored = veles_run("mode=evaluate", f"snapshot={bucket.url}/mnist_small_current").stdout
    assert scored.startswith(f"{final_snapshot(second)}: validation")
    restored = restore(f"{bucket.url}/mnist_small_current")
    assert restored.location == final_snapshot(second)
    assert restored.workflow["snapshotter"].store.place == bucket.url
    left = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text(errors="ignore")]
    assert left == []
    assert SECRET not in first + second + scored
    assert not any(SECRET.encode() in data for data in bucket.objects().values())


def test_bucket_that_goes_away_gets_its_snapshots_from_the_spool(
    veles_run: Run, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away once the first object is there, and is back for the next run."""
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    # A run waits for a minute before it takes to the spool.
    code = (
        "from runner.snapshots.remote import remote_store\n"
        "remote_store.PATIENCE = remote_store.IMPATIENCE = 0.5\n"
        "from runner.cli.run import main; main()"
    )
    (tmp_path / "impatient.py").write_text(code)
    settings = [f"snapshotter.directory={bucket.url}", "snapshotter.time_interval=0", "plotters=false", "report=false"]
    with proxy(bucket.port, port=port) as relay:
        arguments = ["impatient.py", *SMALL, epochs(2), *settings]
        with forked.Started(arguments, cwd=tmp_path, command="python") as started:
            started.wait_for_line("Training")
            relay.close()
            done = started.end(60)
        assert done.returncode == 1, done
    assert "snapshots wait in outputs/spool/" in done.stdout
    assert "Not delivered yet" in done.stdout
    waiting = [path for path in tmp_path.glob("outputs/spool/*/[!.]*") if not path.is_symlink()]
    assert waiting
    with proxy(bucket.port, port=port):
        again = veles_run(*SMALL, epochs(3), f"snapshotter.directory={bucket.url}", "snapshot=latest").stdout
    assert again.count("Snapshot delivered: outputs/spool/") + again.count("Snapshot written: s3://") == len(bucket.objects())
    assert [path for path in tmp_path.glob("outputs/spool/*/[!.]*") if not path.is_symlink()] == []
    assert len(set(bucket.objects().values())) > len(waiting)


REFUSED = {
    "a bucket that is not there": ("s3://not-there/x", {}, "there is no s3://not-there: make it first"),
    "no account": (None, {"AWS_SECRET_ACCESS_KEY": None}, r"check the account and its rights \(AWS_ACCESS_KEY_ID and"),
    "no server": (None, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "check the network, and whether the service is there"),
    "a password": ("s3://me:canary-in-url@bucket/x", {}, "a URL of snapshots may not hold a password: leave it out"),
    "no bucket": ("s3://", {}, "names no folder for snapshots: s3://BUCKET/FOLDER"),
    "an unknown service": ("s4://x/y", {}, "there is no store for s4://; known: az, file, gs, memory, odbc, s3"),
    "a database": ("odbc://x&veles", {}, "is a database: name it with snapshotter.odbc"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_said_before_the_first_epoch(
    case: str, veles_run: Run, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, environment, said = REFUSED[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    done = veles_run(*SMALL, f"snapshotter.directory={place or bucket.url}", code=None)
    assert done.returncode == (1 if case == "no server" else 2)
    assert re.search(said, done.stderr)
    assert done.stderr.splitlines()[-1].startswith("veles-run: ")
    assert "Epoch" not in done.stdout
    texts = [path.read_text(errors="ignore") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("canary" in text for text in (*texts, done.stdout, done.stderr))


def test_missing_package_is_named(bucket: Bucket) -> None:
    code = "import sys; sys.modules['s3fs'] = None\nfrom runner import restore\nrestore('s3://bucket/x/y.pickle')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "snapshots in s3:// need fsspec and s3fs" in done.stderr
    assert "pip install 'veles-runner[remote]'" in done.stderr


def test_connections_cut_in_the_middle(bucket: Bucket, rng: random.Random, hasty: None, monkeypatch) -> None:
    monkeypatch.setattr(remote_store, "PATIENCE", 0.5)
    monkeypatch.setattr(remote_store, "IMPATIENCE", 0.5)
    assert cut_often(bucket, 6, rng.randrange(2**32))["cuts"] > 0


def test_writers_killed_in_the_middle(bucket: Bucket, rng: random.Random) -> None:
    assert kill_writers(bucket, 4, rng.randrange(2**32))["kills"] == 4


@pytest.mark.parametrize(("size", "request_"), [(10, b"PUT /"), (2 * services.PART, b"</CompleteMultipartUpload>")])
def test_answer_to_the_last_step_that_is_lost(size: int, request_: bytes, bucket: Bucket, hasty: None) -> None:
    one = header()
    relay = Stubborn(bucket.port, 1, cut_at=request_)
    try:
        with served_by(relay.port):
            location = RemoteStore(bucket.url).put(one, NONE, content(one, bytes(size)))
        assert relay.cuts == 1
    finally:
        relay.close()
    assert list(bucket.objects().values()) == [b"".join(content(one, bytes(size)))]
    assert location.removeprefix(f"s3://{bucket.name}/") in bucket.objects()


def test_service_that_takes_no_more(bucket: Bucket, hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "CALL_LIMIT", 2.0)
    one = header()
    with (
        proxy(bucket.port, cut_after=services.PART, fault="stall") as relay,
        served_by(relay.port),
        pytest.raises(StoreAwayError, match="no answer in 2 s"),
    ):
        RemoteStore(bucket.url).put(one, NONE, content(one, bytes(2 * services.PART)))
    assert bucket.objects() == {}


def test_service_that_is_back_after_a_moment(bucket: Bucket) -> None:
    port, one = free_port(), header()
    with ExitStack() as stack, served_by(port):
        patience.log.addFilter(back := lambda record: stack.enter_context(proxy(bucket.port, port=port)) is not None)
        try:
            location = RemoteStore(bucket.url).put(one, NONE, content(one))
        finally:
            patience.log.removeFilter(back)
        assert read(RemoteStore(bucket.url), location) == b"".join(content(one))


def test_writers_of_the_same_snapshot_at_once(bucket: Bucket) -> None:
    """The service lets one of them have the name, and both say where it is."""
    one = header()
    whole = [*content(one, bytes(2 * services.PART))]
    other = RemoteStore(bucket.url)
    places = []

    def members():
        yield whole[0]
        places.append(other.put(one, NONE, whole))
        yield from whole[1:]

    places.append(RemoteStore(bucket.url).put(one, NONE, members()))
    assert len(set(places)) == 1
    assert list(bucket.objects().values()) == [b"".join(whole)]
    assert bucket.uploads() == []
    bucket.client.put_object(Bucket=bucket.name, Key=places[0].partition(bucket.name + "/")[2], Body=b"something else")
    with pytest.raises(StoreError, match="is there already, and another snapshot"):
        other.put(one, NONE, whole)


def test_unfinished_uploads_are_removed_after_a_day(bucket: Bucket, monkeypatch, caplog) -> None:
    caplog.set_level("INFO")
    for folder in ("runs", "elsewhere"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=f"{folder}/left.pickle")
    monkeypatch.setattr(services, "STALE", timedelta(days=100 * 366))  # this server has them begin in 2010
    RemoteStore(bucket.url).prepare()
    assert f"Unfinished uploads of the last day in {bucket.url}: 1, of jobs that run or were killed" in caplog.text
    monkeypatch.setattr(services, "STALE", timedelta(0))
    RemoteStore(bucket.url).prepare()
    assert f"Unfinished upload removed: s3://{bucket.name}/runs/left.pickle" in caplog.text
    assert bucket.uploads() == ["elsewhere/left.pickle"]
    assert bucket.objects() == {}


def test_current_is_what_is_there(bucket: Bucket) -> None:
    store = RemoteStore(bucket.url)
    headers = [header(f"run_{number}", prefix="run") for number in range(3)] + [header("run_other", prefix="run_other")]
    locations = [store.put(one, NONE, content(one)) for one in headers]
    for newest in (2, 1, 0):
        assert store.find(f"{bucket.url}/run_current") == locations[newest]
        assert store.find(f"{bucket.url}/run_current.5.pickle.gz") == locations[newest]
        store.delete(locations[newest])
    with pytest.raises(SnapshotNotFoundError, match="none with the prefix 'run'"):
        store.find(f"{bucket.url}/run_current")


def test_files_that_were_copied_there_by_other_means(bucket: Bucket, tmp_path: Path) -> None:
    """They are snapshots like any others, in the order of their headers."""
    files, store = FileStore(tmp_path), RemoteStore(bucket.url)
    headers = [header(f"run_{number}") for number in range(4)]
    for number, one in enumerate(headers):
        location = (files, store)[number % 2].put(one, NONE, content(one))
        if number % 2 == 0:
            bucket.client.upload_file(location, bucket.name, f"runs/{Path(location).name}")
    bucket.client.put_object(Bucket=bucket.name, Key="runs/notes.txt", Body=b"not ours")
    bucket.client.put_object(Bucket=bucket.name, Key="runs/empty.5.pickle", Body=b"")
    bucket.client.put_object(Bucket=bucket.name, Key="runs/below/run.5.pickle", Body=b"elsewhere")
    told = []
    assert [entry.header for entry in store.list(lambda where, error: told.append(where))] == headers[::-1]
    assert told == [f"{bucket.url}/empty.5.pickle"]


class Counting(Proxy):
    """A proxy that counts requests for objects."""

    gets = 0

    def _meets(self, data: bytes, size: int) -> bool:
        self.gets += data[-size:].startswith(b"GET /") and b".pickle" in data[-size:].partition(b"\r\n")[0]
        return False


def test_cost_does_not_depend_on_others(bucket: Bucket) -> None:
    store, other = RemoteStore(bucket.url), "a" * 8
    ours = header("ours", run_id=other, log_id=other)
    location = store.put(ours, NONE, content(ours))
    stem = location.rpartition("/")[2].removeprefix("ours")
    for number in range(60):  # newer ones of other processes, by their names
        name = re.sub(r"_\d{8}T", f"_2999{number % 12 + 1:02}01T", stem).replace(stem.split("_")[2], f"{number:012x}")
        bucket.client.put_object(Bucket=bucket.name, Key=f"runs/theirs{name}", Body=b"")
    relay = Counting(bucket.port)
    try:
        with served_by(relay.port):
            assert [entry.location for entry in RemoteStore(bucket.url).list(runs=[other])] == [location]
    finally:
        relay.close()
    assert relay.gets == 1


def test_url_with_a_password_is_refused_in_python_too() -> None:
    with pytest.raises(ConfigError, match="may not hold a password") as caught:
        RemoteStore("s3://me:canary@bucket/x")
    assert "canary" not in str(caught.value)
