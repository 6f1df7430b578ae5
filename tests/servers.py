"""Database servers of the tests' own: private data folders, free ports on loopback, ended by their own process id.

They come from Debian's packages `mariadb-server` and `postgresql`; the drivers from `odbc-mariadb`, `odbc-postgresql` and
`libsqliteodbc`. SQLite needs no server.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyodbc

from tests import temporary

START_LIMIT = 120

DRIVERS = {"SQLite3": "libsqlite3odbc.so", "MySQL": "libmaodbc.so", "PostgreSQL": "psqlodbcw.so"}
"""The drivers by the names that the tests give them: connection strings without spaces are easier to find in output."""

USER, PASSWORD, DATABASE = "veles", "canary-Passw0rd-7f3a", "veles"


@dataclass(frozen=True)
class Server:
    """A database that accepts connections.

    Attributes:
        kind: `sqlite`, `mariadb` or `postgresql`.
        odbc: the full connection string.
        port: where it listens; 0 without a server.
    """

    kind: str
    odbc: str
    port: int = 0
    process: "Process | None" = None

    @property
    def url(self) -> str:
        """What SQLAlchemy calls it."""
        place = dict(part.split("=", 1) for part in self.odbc.split(";"))
        if self.kind == "sqlite":
            return f"sqlite:///{place['Database']}"
        driver = {"mariadb": "mariadb+pymysql", "postgresql": "postgresql+psycopg"}[self.kind]
        return f"{driver}://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{place['DATABASE']}"

    def kill(self) -> None:
        """Kills the server with all its processes."""
        self.process.kill()

    def start(self) -> None:
        """Starts it again."""
        self.process.start()


@contextmanager
def odbc_settings() -> Iterator[Path]:
    """Makes a folder with the driver manager's settings, which the process and its children use meanwhile."""
    with tempfile.TemporaryDirectory(prefix="veles-odbc-") as folder:
        sections = [f"[{name}]\nDriver={library}\n" for name, library in DRIVERS.items()]
        Path(folder, "odbcinst.ini").write_text("\n".join(sections))
        Path(folder, "odbc.ini").touch()
        before = os.environ.get("ODBCSYSINI")
        os.environ["ODBCSYSINI"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["ODBCSYSINI"]
            else:
                os.environ["ODBCSYSINI"] = before


def sqlite(folder: Path) -> Server:
    """Returns a new SQLite database."""
    return Server("sqlite", f"DRIVER={{SQLite3}};Database={folder / 'snapshots.db'}")


@contextmanager
def mariadb() -> Iterator[Server]:
    """Runs a MariaDB server with its default settings."""
    with _private_folder("mysql") as (folder, user):
        data, log = folder / "data", folder / "log"
        # Two servers that share /tmp take each other's temporary tables for their own, and delete them.
        own = ["--no-defaults", f"--datadir={data}", f"--tmpdir={folder}"]
        as_user = [f"--user={user}"] if user else []
        _run(["mariadb-install-db", *own, *as_user, "--auth-root-authentication-method=normal", "--skip-test-db"])
        init = folder / "init.sql"
        init.write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        init.chmod(0o644)
        port = free_port()
        listen = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}", "--skip-name-resolve"]
        files = [f"--pid-file={folder / 'pid'}", f"--init-file={init}"]
        with Process(["mariadbd", *own, *listen, *files], folder, log, user) as process:
            yield Server("mariadb", connection_string("MySQL", port), port, process)


@contextmanager
def postgresql() -> Iterator[Server]:
    """Runs a PostgreSQL server with its default settings."""
    with _private_folder("postgres") as (folder, user):
        data, secret = folder / "data", folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        init = [binaries / "initdb", "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"]
        _run(init, user=user, cwd=folder)
        port = free_port()
        command = [binaries / "postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", folder]
        # When it is killed, pieces of shared memory stay behind for ever.
        with Process(list(map(str, command)), folder, folder / "log", user, end=signal.SIGQUIT) as process:
            environment = os.environ | {"PGPASSWORD": PASSWORD}
            create = [binaries / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", USER, DATABASE]
            _run(create, env=environment)
            yield Server("postgresql", connection_string("PostgreSQL", port), port, process)


def _run(command: list[str | Path], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command[0]}: exit code {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def connection_string(driver: str, port: int, *, user: str = USER, password: str = PASSWORD, host: str = "127.0.0.1") -> str:
    """Returns the connection string of a server on this machine."""
    return f"DRIVER={{{driver}}};SERVER={host};PORT={port};DATABASE={DATABASE};UID={user};PWD={password}"


def free_port() -> int:
    """Returns a port of the loopback address on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SERVERS: dict[str, Callable[[], AbstractContextManager[Server]]] = {"mariadb": mariadb, "postgresql": postgresql}
KINDS = ("sqlite", *SERVERS)


class Servers:
    """Starts each server when it is first asked for, and gives out new databases in it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Server] = {}
        self._databases = 0

    def running(self, kind: str) -> Server:
        """Returns the server of that kind."""
        if kind not in self._running:
            self._running[kind] = self._stack.enter_context(SERVERS[kind]())
        return self._running[kind]

    def database(self, kind: str, folder: Path) -> Server:
        """Returns a new, empty database; that of SQLite is a file in the folder."""
        if kind == "sqlite":
            return sqlite(folder)
        server = self.running(kind)
        self._databases += 1
        name = f"test_{self._databases}"
        execute(server, f"CREATE DATABASE {name}")
        return replace(server, odbc=server.odbc.replace(f"DATABASE={DATABASE}", f"DATABASE={name}"))


def execute(server: Server, *statements: str) -> None:
    """Executes statements one by one."""
    with closing(pyodbc.connect(server.odbc, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(statement)


def query(server: Server, statement: str) -> list[tuple[object, ...]]:
    """Returns what a query finds."""
    with closing(pyodbc.connect(server.odbc, autocommit=True)) as connection:
        return [tuple(row) for row in connection.execute(statement).fetchall()]


def seen_by_client(server: Server, statement: str) -> list[list[str]]:
    """Returns what the system's own command-line client finds: another reader than the one that is tested."""
    place = dict(part.split("=", 1) for part in server.odbc.split(";"))
    host, environment = ["-h", "127.0.0.1"], os.environ | {"PGPASSWORD": PASSWORD, "MYSQL_PWD": PASSWORD}
    if server.kind == "sqlite":
        command = ["sqlite3", "-batch", "-noheader", "-separator", "\t", place["Database"], statement]
    elif server.kind == "mariadb":
        options = ["--no-defaults", *host, f"-P{server.port}", f"-u{USER}", "--default-character-set=utf8mb4", "-N", "-B"]
        command = ["mariadb", *options, place["DATABASE"], "-e", statement]
    else:
        command = ["psql", "-X", *host, f"-p{server.port}", f"-U{USER}", "-At", "-F", "\t", place["DATABASE"], "-c", statement]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@contextmanager
def _private_folder(user: str) -> Iterator[tuple[Path, str | None]]:
    """Makes a folder for a server; root runs the server as the user that its package brings."""
    folder = Path(tempfile.mkdtemp(prefix="veles-server-", dir=os.environ.get(temporary.SERVERS)))
    owner = user if os.getuid() == 0 else None
    try:
        if owner:
            shutil.chown(folder, owner)
        yield folder, owner
    finally:
        shutil.rmtree(folder)


class Process:
    """A server with all its processes. At the end its data are thrown away, so it need not put them in order.

    Args:
        command: what starts it.
        folder: its own.
        log: the file for what it prints.
        user: who runs it.
        end: the signal that ends it without putting its data in order.
    """

    running: ClassVar[set[int]] = set()
    """The process ids of all that run."""

    def __init__(self, command: list[str], folder: Path, log: Path, user: str | None, end: int = signal.SIGKILL) -> None:
        self._command, self._folder, self._log, self._user, self._end = command, folder, log, user, end

    def __enter__(self) -> "Process":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(self._end)
        try:
            self._process.wait(START_LIMIT)
            self.running.discard(self._process.pid)
        except subprocess.TimeoutExpired:
            self.kill()

    def start(self) -> None:
        """Starts it, and waits until it says to be ready in the way of systemd's services."""
        notify = self._folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self._log, "ab") as output:
            notify.unlink(missing_ok=True)
            ready.bind(str(notify))
            notify.chmod(0o777)
            ready.settimeout(START_LIMIT)
            environment = os.environ | {"NOTIFY_SOCKET": str(notify)}
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            self._process = subprocess.Popen(
                [*self._as_user(), *self._command], cwd=self._folder, env=environment, process_group=0, **streams
            )
            self.running.add(self._process.pid)
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            except TimeoutError:
                self.kill()
                raise RuntimeError(f"{self._command[0]} did not start:\n{self._log.read_text()}") from None

    def _as_user(self) -> list[str]:
        """Returns the command that runs another one as the server's user, until this process ends, however it does."""
        identity = [f"--reuid={self._user}", f"--regid={self._user}", "--init-groups"] if self._user else []
        return ["setpriv", "--pdeathsig=KILL", *identity]

    def kill(self) -> None:
        """Kills it, and waits until all its processes have ended: until then PostgreSQL finds its shared memory in use."""
        # Its processes have groups of their own, so they are found as children; while it stands still it makes no more of them.
        process = Path("/proc", str(self._process.pid))
        os.kill(self._process.pid, signal.SIGSTOP)
        while _state(process) not in "TZ":
            time.sleep(0.001)
        children = [Path("/proc", pid) for pid in (process / "task" / process.name / "children").read_text().split()]
        for pid in map(int, (process.name, *(child.name for child in children))):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self.running.discard(self._process.pid)
        while any(_state(child) not in "ZX" for child in children):
            time.sleep(0.001)


def _state(process: Path) -> str:
    """Returns the letter that tells whether a process runs (R, S, D), stands still (T), or has ended (Z, X)."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
