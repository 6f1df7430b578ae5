"""Pictures of a run: plotters say what is to be seen, and a process of its own draws it."""
