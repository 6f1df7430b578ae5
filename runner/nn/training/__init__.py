"""How a parameter is updated with its gradient."""
