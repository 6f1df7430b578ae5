"""Snapshots as rows of a database table."""
