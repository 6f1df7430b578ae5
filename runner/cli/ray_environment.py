"""What Ray is told by variables, which it reads when it is imported."""

from __future__ import annotations

import os
import secrets

_SAID = {
    "RAY_DEDUP_LOGS": "0",  # equal lines of two jobs are two lines
    "RAY_COLOR_PREFIX": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare(alone: bool) -> None:
    """Sets the variables that the user has not set.

    Args:
        alone: whether a Ray is to be started for this sweep. Its ports can be reached from other machines, and whoever may use
            them runs what he likes, so it asks for a token that only its own processes have.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()} if alone else {}
    for name, value in {**_SAID, **token}.items():
        os.environ.setdefault(name, value)
