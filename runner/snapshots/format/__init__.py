"""The binary format of a snapshot: header, pickle and seal."""
