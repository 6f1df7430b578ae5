"""A relay between a client and a server on this machine, which can be cut, reset or stalled at a chosen moment."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FAULTS = ("cut", "reset", "stall")


class Proxy:
    """Relays connections to a port until a client sends `cut_at`; that is passed on, its answer is not.

    Args:
        target: the server's port.
        cut_at: the bytes at which the next connection that sends them meets the fault; None for never.
        port: where it listens; a free one if 0.
        cut_after: the bytes from clients after which the connection that sends them meets the fault; None for never.
        fault: `cut` ends the connection, `reset` does so with RST, `stall` passes nothing on any more.
    """

    def __init__(
        self, target: int, cut_at: bytes | None = None, port: int = 0, *, cut_after: int | None = None, fault: str = "cut"
    ) -> None:
        self.target = target
        self.cut_at = cut_at
        self.cut_after = cut_after
        self.fault = fault
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._closed = False
        self._sockets: list[socket.socket] = [self._listener]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        self._relaying: list[threading.Thread] = []

    def close(self) -> None:
        """Ends all connections."""
        with self._lock:
            self._closed = True  # a connection that is accepted from here on is not relayed
        self._shut(self._listener)
        self._accepting.join()
        for one in self._sockets:
            self._shut(one)
        for thread in self._relaying:
            thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                server = socket.create_connection(("127.0.0.1", self.target))
                self._sockets.append(server)
                with self._lock:
                    if self._closed:
                        return
                    for source, sink, watched in ((client, server, True), (server, client, False)):
                        self._relaying.append(threading.Thread(target=self._relay, args=(source, sink, watched)))
                        self._relaying[-1].start()

    def _relay(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        end = b""  # what is looked for may come in two pieces
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if watched and self._meets(end + data, len(data)):
                    self._break(source, sink, data)
                    return
                end = data[-32:]
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _meets(self, data: bytes, size: int) -> bool:
        if self.cut_after is not None:
            self.cut_after -= size
        met = (self.cut_at is not None and self.cut_at in data) or (self.cut_after is not None and self.cut_after < 0)
        if met:
            self.cut_at = self.cut_after = None
            self.cuts += 1
        return met

    def _break(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if self.fault == "stall":
            return  # both ends wait
        if self.fault == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._shut(client)
        server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    @staticmethod
    def _shut(one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(target: int, cut_at: bytes | None = None, port: int = 0, **faults: object) -> Iterator[Proxy]:
    """Relays while the block runs."""
    relay = Proxy(target, cut_at, port, **faults)
    try:
        yield relay
    finally:
        relay.close()
