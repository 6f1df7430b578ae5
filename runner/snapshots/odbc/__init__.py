"""Snapshots as rows in a database table."""
