"""The hermes side of rows that measure a part of it rather than the command; each is a separate process."""
