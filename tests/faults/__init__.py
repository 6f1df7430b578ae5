"""File systems that fail, crash or lose power, for tests of the file store."""
