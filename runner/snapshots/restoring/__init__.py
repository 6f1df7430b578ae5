"""Reading a snapshot back: decoded, verified, and built by a machine that runs nothing."""
