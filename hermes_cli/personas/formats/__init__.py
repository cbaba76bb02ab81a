"""Readers and writers for the persona and lorebook formats of other programs, one module per format."""
