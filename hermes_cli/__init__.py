"""hermes: a terminal chat client for local models."""

__version__ = "0.1.0"
