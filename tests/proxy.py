"""A relay between a client and a server on this machine, which can be cut at a chosen moment."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Relays connections to a port until a client sends `cut_at`; that is passed on, its answer is not.

    Args:
        target: the server's port.
        cut_at: the bytes at which the next connection that sends them is cut; None for never.
        port: where it listens; a free one if 0.
    """

    def __init__(self, target: int, cut_at: bytes | None = None, port: int = 0) -> None:
        self.target = target
        self.cut_at = cut_at
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Ends all connections."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                self._sockets += [client, server]
                for source, sink, watched in ((client, server, True), (server, client, False)):
                    self._threads.append(threading.Thread(target=self._relay, args=(source, sink, watched)))
                    self._threads[-1].start()

    def _relay(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if watched and self.cut_at is not None and self.cut_at in data:
                    self.cut_at = None
                    self.cuts += 1
                    source.shutdown(socket.SHUT_RDWR)
                    sink.sendall(data)
                    break
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(target: int, cut_at: bytes | None = None, port: int = 0) -> Iterator[Proxy]:
    """Relays while the block runs."""
    relay = Proxy(target, cut_at, port)
    try:
        yield relay
    finally:
        relay.close()
