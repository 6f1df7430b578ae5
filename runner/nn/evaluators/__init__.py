"""Evaluators: how wrong the output is."""
