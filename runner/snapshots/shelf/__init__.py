"""What was made: snapshots are listed, looked into, compared, marked, copied and removed, without being restored."""
