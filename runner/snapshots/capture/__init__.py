"""Captures the state of a workflow: pickles, copies and encodes it, and hands it to a store."""
