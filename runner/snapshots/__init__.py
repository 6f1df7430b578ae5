"""Snapshots: capture, format, codecs, stores, and restoring."""
