"""The schema of `layers`."""
