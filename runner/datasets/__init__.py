"""Readers of data files, and the data that ships with the package."""
