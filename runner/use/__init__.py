"""A trained network at work: predictions of new data, and their scores."""
