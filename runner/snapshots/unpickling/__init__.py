"""The machine that builds what a pickle describes, and never runs what it names."""
