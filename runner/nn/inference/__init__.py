"""A trained network as a module of torch, which needs nothing else of its workflow."""
