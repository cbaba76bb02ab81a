"""Conversations as files: Markdown, JSON, and the formats of other programs, each in a file of its own."""
