"""A folder of Hugging Face weights: what its files say, read in milliseconds without torch and without trust.

Nothing in here unpickles, imports or fetches anything: JSON is read with limits, and of the weights only
their headers. What would make transformers run code of the model's own is refused.
"""

from hermes_cli.models.checkpoint.folder import Checkpoint, read

__all__ = ["Checkpoint", "read"]
