"""Several processes that compute one run: which of them this is, and sums whose order does not depend on their number."""
