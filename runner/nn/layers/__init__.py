"""Layers: a forward unit and its gradient unit each."""
