"""Reads GGUF files: the header, the tensor types, and the properties of the model."""
