"""What loaders, layers and evaluators have in common."""
