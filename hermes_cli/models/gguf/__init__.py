"""Reads the headers of GGUF files."""
