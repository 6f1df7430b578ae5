"""Taking the state of a workflow: pickled, copied, encoded and handed to a store."""
