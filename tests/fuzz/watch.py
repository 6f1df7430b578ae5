"""Hears what the process does to the world."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

FORBIDDEN = (
    *("exec", "compile", "import", "socket.", "ctypes.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
    *("os.fork", "os.forkpty", "os.kill", "os.killpg", "os.putenv", "os.unsetenv", "os.chdir", "os.fchdir", "os.startfile"),
    *("shutil.", "pty.", "sqlite3.", "urllib.", "ftplib.", "smtplib.", "pickle.find_class", "marshal.", "code.__new__"),
    *("cpython.", "sys.addaudithook", "sys.setprofile", "sys.settrace", "webbrowser.", "builtins.input", "syslog."),
)
"""Events, or how they begin, that no snapshot may bring about."""
PLACES = (
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate"),
    *("os.utime", "os.lockf", "os.setxattr", "os.removexattr", "os.mkfifo", "os.mknod"),
)
"""Events that may be brought about in the run's folder."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READ = ("/proc/", "/sys/fs/cgroup/", "/usr/share/zoneinfo/", *(path for path in sys.path if path))


class Watch:
    """The audit hook.

    Attributes:
        armed: whether it listens.
        heard: what it should not have heard.

    Args:
        folder: where the run may write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}/"
        self.armed = False
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.armed and not self._fits(event, arguments):
            self.heard.append(f"{event} {str(arguments)[:200]}")

    def _fits(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            return self._is_inside(path) or (not flags & WRITES and str(path).startswith(READ))
        if event in PLACES:
            return all(self._is_inside(path) for path in arguments if isinstance(path, str | bytes))
        return not event.startswith(FORBIDDEN) or (event in ("compile", "exec") and _reads_annotations())

    def _is_inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return True  # what is open already
        real = os.path.realpath(os.path.join(self.folder, os.fsdecode(path)))
        return f"{real}/".startswith(self.folder)


def _reads_annotations() -> bool:
    """Whether omegaconf looks up types that it or our own schema declares, which Python compiles each time."""
    frame = sys._getframe()
    modules = []
    while frame.f_back is not None and len(modules) < 20:
        frame = frame.f_back
        modules.append(frame.f_globals.get("__name__", ""))
    caller = next((module for module, inner in zip(modules[1:], modules, strict=False) if inner == "typing" != module), "")
    return caller.startswith("omegaconf.")
