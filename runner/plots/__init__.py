"""Pictures of a run: plotters say what to show, and a separate process draws it."""
