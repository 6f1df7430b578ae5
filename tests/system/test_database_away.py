"""Servers that are away for a while, that hang, or that go away in the middle of a snapshot."""

import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.errors import StoreAwayError, StoreError
from runner.snapshots.odbc.connection import connect
from runner.snapshots.odbc.odbc_store import OdbcStore
from runner.snapshots.odbc.session import ROW
from tests.contract.test_stores import NONE, content, header
from tests.proxy import proxy
from tests.servers import DATABASE, SERVERS, Server, Servers, connection_string, execute, free_port, query

DRIVERS = {"mariadb": "MySQL", "postgresql": "PostgreSQL"}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    """A server whose default database is emptied afterwards."""
    server = servers.running(request.param)
    OdbcStore(server.odbc).prepare()
    yield server
    execute(server, "DROP TABLE veles", "DROP TABLE veles_chunks")


def through(server: Server, port: int) -> OdbcStore:
    return OdbcStore(connection_string(DRIVERS[server.kind], port))


def test_snapshot_waits_for_a_server_that_is_away(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    store = through(server, port)
    with ExitStack() as stack:

        class Return(logging.Handler):
            """Brings the server back when the first try has failed."""

            def emit(self, record: logging.LogRecord) -> None:
                if "trying again" in record.getMessage():
                    logging.getLogger("runner").removeHandler(self)
                    stack.enter_context(proxy(server.port, port=port))

        logging.getLogger("runner").addHandler(Return())
        one = header()
        location = store.put(one, NONE, content(one))
        assert [entry.location for entry in store.list()] == [location]
    assert "trying again in" in caplog.text


@pytest.mark.parametrize("driver", DRIVERS.values())
def test_server_that_does_not_answer(driver: str, odbc_folder: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        odbc = connection_string(driver, silent.getsockname()[1])
        with (
            pytest.raises(StoreAwayError, match=r"PWD=\*\*\*\): (no answer in 1 s|.*timeout expired)"),
            connect(odbc, 0, limit=1),
        ):
            pass


def test_connection_lost_while_writing_leaves_nothing(server: Server) -> None:
    with proxy(server.port, cut_at=b"cut here") as relay:
        one = header()
        with pytest.raises(StoreAwayError, match="cannot write to table 'veles'"):
            through(server, relay.port).put(one, NONE, [*content(one), bytes(ROW), b"cut here", bytes(ROW)])
        assert relay.cuts == 1
    assert list(OdbcStore(server.odbc).list()) == []


def test_answer_to_the_commit_that_is_lost(server: Server) -> None:
    with proxy(server.port, cut_at=b"COMMIT") as relay:
        one = header()
        location = through(server, relay.port).put(one, NONE, content(one))
        assert relay.cuts == 1
        assert [entry.header for entry in OdbcStore(server.odbc).list()] == [one]
        assert b"".join(through(server, relay.port).open(location)) == b"".join(content(one))
    assert DATABASE in location


def test_commit_behind_which_nothing_is_there(servers: Servers, tmp_path: Path) -> None:
    server = servers.database("postgresql", tmp_path)
    store = OdbcStore(server.odbc)
    store.prepare()
    execute(server, "CREATE RULE lose AS ON INSERT TO veles_chunks DO INSTEAD NOTHING")
    with pytest.raises(StoreError, match=r"after COMMIT it has \d+ of \d+ bytes"):
        store.put(header(), NONE, content(header()))
    assert query(server, "SELECT COUNT(*) FROM veles") == [(0,)]


def test_first_row_that_is_refused(servers: Servers, tmp_path: Path, odbc_folder: object) -> None:
    server = servers.database("sqlite", tmp_path)
    store = OdbcStore(server.odbc)
    store.prepare()
    execute(server, "CREATE TRIGGER quota BEFORE INSERT ON veles_chunks BEGIN SELECT RAISE(ABORT, 'quota exceeded'); END")
    with pytest.raises(StoreError, match=r"cannot write to table 'veles'.*quota exceeded"):
        store.put(header(), NONE, content(header()))
    assert list(store.list()) == []
