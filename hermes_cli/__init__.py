"""hermes: a terminal chat client for local ChatML models."""

__version__ = "0.1.0"
