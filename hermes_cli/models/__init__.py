"""Which model, where from, and how it fits this machine.

Nothing in this package loads a model: it reads headers, counts bytes, and fetches files.
"""
