"""The compression libraries and their errors. Optional libraries are imported only when needed."""

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
    """Imports a module of an optional package.

    Raises:
        ConfigError: the package is missing; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"codec {codec!r} needs the package {package}: pip install {package}") from error


def decoding_errors() -> tuple[type[Exception], ...]:
    """Returns the errors that damaged data can raise. Each library has its own, which exists only once it is loaded."""
    modules = {"isal.isal_zlib": "error", "zstandard": "ZstdError", "cramjam": "DecompressionError"}
    loaded = [getattr(sys.modules[module], name) for module, name in modules.items() if module in sys.modules]
    return (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, *loaded)
