"""Reads, decodes and parses files and texts of unknown origin, with limits."""
