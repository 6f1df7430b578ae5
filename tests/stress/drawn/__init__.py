"""Data that are drawn at random, and what a network that is trained on them must give."""
