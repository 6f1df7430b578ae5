"""File systems that fail or crash, for tests of the file store."""
