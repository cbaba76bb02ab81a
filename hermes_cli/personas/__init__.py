"""Personas and lorebooks: the values, the files they are read from, and the macros in their texts."""
