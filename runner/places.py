"""Where an error comes from: its cause, and the file and line in code that is neither ours nor a library's."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_PATHS = sysconfig.get_paths()
_LIBRARIES = (_PATHS["purelib"], _PATHS["platlib"])
_FOREIGN = (str(Path(__file__).parent), _PATHS["stdlib"], *_LIBRARIES)


def cause(error: BaseException) -> BaseException:
    """Returns the error that began a chain of `raise ... from`."""
    while error.__cause__ not in (None, error):  # `raise error from error` is Python, too
        error = error.__cause__
    return error


def of(error: BaseException) -> str | None:
    """Returns the file and line of the user's own code in which an error, or its cause, was raised: `my_models.py:12`."""
    first = cause(error)
    if isinstance(first, SyntaxError) and first.filename and first.lineno:
        return place(first.filename, first.lineno)
    chain = (first, error) if first is not error else (error,)
    frames = [frame for part in chain for frame in reversed(traceback.extract_tb(part.__traceback__))]
    own = (frame for frame in frames if _is_own(frame.filename))
    return next((place(frame.filename, frame.lineno or 0) for frame in own), None)


def is_users(error: BaseException) -> bool:
    """Whether the user's own code has raised an error: `sys.exit()` in a module of theirs is not ours."""
    frames = traceback.extract_tb(cause(error).__traceback__)
    return bool(frames) and _is_own(frames[-1].filename)


def _is_own(file: str) -> bool:
    """Whether a file is the user's; Cython calls its sources by names such as `pyarrow/error.pxi`, which are nowhere."""
    return not file.startswith(("<", *_FOREIGN)) and Path(file).is_file()


def told(error: BaseException) -> str:
    """Returns the cause of an error on one line, with class and place: `NameError: name 'x' is not defined (a.py:3)`."""
    first = cause(error)
    text = first.msg if isinstance(first, SyntaxError) else first
    where = of(error)
    line = " ".join(f"{type(first).__name__}: {text}".removesuffix(": ").split())
    return f"{line} ({where})" if where else line


def place(file: str, line: int) -> str:
    """Returns a line of a file for messages, without the folder of installed packages, or the current one, that it is in."""
    path = Path(file)
    root = next((root for root in (*_LIBRARIES, Path.cwd()) if path.is_relative_to(root)), None)
    return f"{path.relative_to(root) if root else path}:{line}"
