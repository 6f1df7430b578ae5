"""How long a store waits for a server that is away."""

from __future__ import annotations

import logging

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from runner.errors import StoreAwayError

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds to wait for a server that is away when writing a snapshot."""
IMPATIENCE = 3.0
"""The same for operations that a person waits for."""
LONGEST_PAUSE = 15.0
"""Maximum number of seconds between two attempts."""


def tries(patience: float) -> Retrying:
    """Returns what calls a function again, with growing pauses, while it says that the server is away.

    Args:
        patience: seconds after which its error is raised.
    """
    return Retrying(
        retry=retry_if_exception_type(StoreAwayError),
        wait=wait_exponential(multiplier=0.25, max=LONGEST_PAUSE),
        stop=stop_after_delay(patience),
        before_sleep=_tell,
        reraise=True,
    )


def _tell(state: RetryCallState) -> None:
    assert state.outcome is not None
    assert state.next_action is not None
    log.warning("%s; trying again in %.1f s", state.outcome.exception(), state.next_action.sleep)
