"""Reads a folder of Hugging Face weights in milliseconds, without torch, and treats its files as untrusted.

Nothing here unpickles, imports or downloads anything. JSON is read with limits, and only the headers of the
weights are read. Settings that would make transformers run the model's code are an error.
"""

from hermes_cli.models.checkpoint.folder import Checkpoint, read

__all__ = ["Checkpoint", "read"]
