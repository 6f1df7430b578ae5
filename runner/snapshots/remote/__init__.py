"""Snapshots in storage that is known by URLs: buckets, containers, and the memory of a process."""
