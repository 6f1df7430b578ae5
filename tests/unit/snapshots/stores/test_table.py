"""The table of stores: a scheme leads to a store, and no driver is loaded before it is needed."""

import subprocess
import sys
from abc import ABC

import pytest

from runner.errors import ConfigError
from runner.snapshots import stores
from runner.snapshots.stores.store import Store
from tests import memory_store


def test_a_store_without_its_whole_surface_cannot_be_made() -> None:
    class S3(Store):
        def put(self, header: object, codec: object, members: object) -> str:
            return ""

    assert issubclass(Store, ABC)
    with pytest.raises(TypeError, match="abstract"):
        S3()
    assert Store.__abstractmethods__ == {"at", "of", "place", "prepare", "put", "open", "list", "find", "delete"}


def test_third_store_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'kept://here/x'"):
        stores.store_of("kept://here/x")
    monkeypatch.setattr(stores, "STORES", stores.STORES | memory_store.ROW)
    found, location = stores.store_of("kept://here/x")
    assert (found.place, location) == ("kept://here", "kept://here/x")


def test_password_in_an_unknown_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        stores.store_of("s3://user:canary-secret@host/x")
    assert "canary" not in str(caught.value)


def test_the_table_loads_no_driver() -> None:
    code = "import sys, runner.snapshots.stores; print([name for name in ('pyodbc', 'tenacity') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout == "[]\n"
