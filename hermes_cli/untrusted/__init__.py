"""Reads, decodes and parses files and text of unknown origin, with limits on size and depth."""
