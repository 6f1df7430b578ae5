"""Changes honest snapshots as an attacker would who knows our classes, restores them, and goes on with the run."""
