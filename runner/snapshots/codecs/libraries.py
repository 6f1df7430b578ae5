"""The libraries that compress, and what they raise; those that may be missing are imported when they are needed."""

from __future__ import annotations

import importlib
import lzma
import sys
import zlib
from types import ModuleType

from runner.errors import ConfigError

gzip_library: ModuleType
try:
    from isal import isal_zlib as gzip_library
except ModuleNotFoundError:
    gzip_library = zlib


def require(module: str, package: str, codec: str) -> ModuleType:
    """Imports a module.

    Raises:
        ConfigError: its package is missing; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"codec {codec!r} needs the package {package}: pip install {package}") from error


def decoding_errors() -> tuple[type[Exception], ...]:
    """Returns the errors of damaged data; each library has its own, known once it is loaded."""
    modules = {"isal.isal_zlib": "error", "zstandard": "ZstdError", "cramjam": "DecompressionError"}
    loaded = [getattr(sys.modules[module], name) for module, name in modules.items() if module in sys.modules]
    return (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, *loaded)
