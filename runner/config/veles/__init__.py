"""VELES's own configurations: the dictionary of one of its samples, as a conf file, becomes keys of this project."""

from runner.config.veles.translation import translated

__all__ = ["translated"]
