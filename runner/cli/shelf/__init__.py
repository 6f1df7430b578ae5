"""`veles-snapshots`: looks after what runs have made."""
