"""Reads a folder of Hugging Face weights in milliseconds, without torch, and treats its files as untrusted.

This package never unpickles, imports or downloads anything. JSON is parsed with limits, and only the headers
of weight files are read. Settings that would make transformers run the model's own code raise an error.
"""

from hermes_cli.models.checkpoint.folder import Checkpoint, read

__all__ = ["Checkpoint", "read"]
