"""Changes honest snapshots as an attacker would who knows our classes, restores them, and goes on with the run."""

import os

# A snapshot may ask for a few hundred threads. Each trial has little room for addresses, which their stacks would take.
os.environ.setdefault("OMP_STACKSIZE", "512K")
