"""Long tests, on demand: `python -m tests.stress kill-writer --count 100000`."""
