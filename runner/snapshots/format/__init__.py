"""The bytes of a snapshot: header, pickle, seal."""
