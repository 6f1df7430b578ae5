"""Where the study of a search is: opened with the right database, or refused in one line without its password."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread

import optuna
import pytest

from runner import passwords
from runner.cli.sweeping import study as studies
from runner.cli.sweeping import study_database
from runner.errors import ConfigError, RunError
from tests.servers import PASSWORD, Server, Servers, execute, seen_by_client


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without a password, and does not wait for servers that are not there."""
    monkeypatch.setattr(passwords, "_given", {})
    monkeypatch.setattr(passwords, "_found", set())
    monkeypatch.setattr(study_database, "FIRST", 0.0)


def begun(folder: Path, url: str | None, seed: int = 7) -> optuna.Study:
    folder.mkdir(exist_ok=True)
    return studies.begun(folder, url and passwords.conceal_url(url), seed, {"objective": "minimize"}, "none", None)


def said(folder: Path, url: str | None) -> str:
    with pytest.raises(ConfigError) as raised:
        begun(folder, url)
    text = str(raised.value)
    assert PASSWORD not in text
    assert "\n" not in text
    return text


def test_sweeps_of_the_same_name_have_studies_of_their_own(database: Server, tmp_path: Path) -> None:
    names = [begun(tmp_path / "there", database.url, seed).study_name for seed in (1, 1)]
    for path in (tmp_path / "there").iterdir():
        path.unlink()
    names.append(begun(tmp_path / "there", database.url, 2).study_name)
    assert names[0] == names[1] != names[2]
    rows = seen_by_client(database, "select study_name from studies order by study_id")
    assert rows == [[names[0]], [names[2]]]


def test_a_sweep_whose_study_is_somewhere_else_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    name = begun(tmp_path / "there", url).study_name
    assert url in said(tmp_path / "there", None)
    (tmp_path / "moved").mkdir()
    (tmp_path / "there" / "study.json").rename(tmp_path / "moved" / "study.json")
    assert begun(tmp_path / "moved", url).study_name == name
    assert name in said(tmp_path / "moved", f"sqlite:///{tmp_path}/other.db")
    (tmp_path / "moved" / "study.json").write_text("{}")
    assert "study.json" in said(tmp_path / "moved", url)
    begun(tmp_path / "journal", None)
    assert "study.journal" in said(tmp_path / "journal", url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////no/such/study.db", "/no/such/study.db"),
        ("mysql+nothing://veles@127.0.0.1/x", "mysql+nothing"),
        (f"oracle://veles:{PASSWORD}@127.0.0.1/x", "oracledb"),
        (f"postgresql+psycopg://veles:{PASSWORD}@127.0.0.1:1/x", "port 1"),
        (f"mysql+pymysql://veles:@{PASSWORD}@x@127.0.0.1:1/x", "***@127.0.0.1:1/x: type an @ in a password as %40"),
        (f"mysql+pymysql://veles@127.0.0.1:1/x?password={PASSWORD}", "veles@127.0.0.1:1/x?***"),
        ("postgresql://veles:***@127.0.0.1/x", "hydra.sweeper.storage"),
        ("study.db", "study.db"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named(url: str, told: str, tmp_path: Path) -> None:
    assert told in said(tmp_path / "there", url)
    assert not list((tmp_path / "there").iterdir())


def test_a_wrong_password_is_told_without_it(servers: Servers, tmp_path: Path) -> None:
    server = servers.database("mariadb", tmp_path)
    execute(server, f"create user if not exists wrong@'127.0.0.1' identified by '{PASSWORD}'")
    text = said(tmp_path / "there", server.url.replace("veles:", "wrong:").replace(PASSWORD, f"{PASSWORD}%2Fx"))
    assert "Access denied" in text


def test_a_server_that_is_started_again_is_waited_for(servers: Servers, tmp_path: Path) -> None:
    server = servers.database("mariadb", tmp_path)
    study = begun(tmp_path / "there", server.url)
    server.kill()
    telling = Thread(target=lambda: study.tell(study.ask(), 1.0))
    telling.start()
    server.start()  # a server ends with the thread that has started it
    telling.join()
    assert seen_by_client(server, "select number, state from trials") == [["0", "COMPLETE"]]


def test_a_study_that_is_lost_in_the_middle_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = begun(tmp_path / "there", url)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("drop table trials")
    with pytest.raises(RunError) as raised, study_database.told(url):
        study.ask()
    assert url in str(raised.value)
    assert "trials" in str(raised.value)
