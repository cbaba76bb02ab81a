"""Screenshots of the real program: `python -m screenshots`, or `make screens`."""
