"""Pictures of what a person sees, taken from the real program: `python -m screenshots`, or `make screens`."""
