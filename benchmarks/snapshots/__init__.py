"""Snapshots against their alternatives: `python -m benchmarks.snapshots`."""
