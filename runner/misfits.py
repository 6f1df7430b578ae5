"""The errors of values that do not fit the schema."""

from omegaconf.errors import OmegaConfBaseException

MISFITS = (OmegaConfBaseException, OverflowError)
"""OmegaConf lets the last one through, for a whole number that is too large for a float."""
