"""Tests of this folder leave nothing behind."""

from tests.leaks import _session_is_ready, leaves_nothing

__all__ = ["_session_is_ready", "leaves_nothing"]
