"""Personas and lorebooks: their data types, file formats and macros."""
