"""Makes the pictures of the README, in `docs/images`: `python docs/pictures.py`. It needs pyte, and Debian's chromium."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).with_name("images")
RUN = ["mnist_small", "seed=1", "decision.max_epochs=8"]
COLUMNS, ROWS = 100, 40


def terminal(command: list[str], folder: str) -> list[Text]:
    """Runs a command in a terminal, and returns what it has on it in the end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder):
        os.close(slave)
        try:
            while data := os.read(master, 1 << 16):
                stream.feed(data)
        except OSError:  # the last process has closed the terminal
            pass
    lines = [line(screen.buffer[row]) for row in range(ROWS)]
    return lines[: max(number for number, text in enumerate(lines) if text.plain) + 1]


def line(cells: dict[int, pyte.screens.Char]) -> Text:
    """Returns a row of the terminal."""
    text = Text()
    for style, same in groupby((cells[column] for column in range(COLUMNS)), key=style_of):
        text.append("".join(cell.data for cell in same), style)
    text.rstrip()
    return text


def style_of(cell: pyte.screens.Char) -> str:
    """Returns the style of a character, as rich has it."""
    color = f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else {"brown": "yellow"}.get(cell.fg, cell.fg)
    return f"{'bold ' if cell.bold else ''}{color}"


def main() -> None:
    """Trains, and makes both."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
        console = Console(record=True, width=COLUMNS, file=nothing)
        rows = terminal([sys.executable, "-m", "runner", *RUN], folder)
        console.print(Text(f"$ veles-run {' '.join(RUN)}", "bold"), *rows, sep="\n")
        svg = console.export_svg(title="veles-run")
        # The reader's own font will do: nothing is loaded from a network.
        (IMAGES / "terminal.svg").write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))
        (report,) = Path(folder).glob("outputs/*/*/*/report.html")
        size = ["--window-size=1280,880", "--hide-scrollbars"]
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", *size]
        subprocess.run([*command, f"--screenshot={IMAGES / 'report.png'}", report.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
