"""Hugging Face weights on transformers, torch and bitsandbytes, with a decode loop of our own.

Importing it keeps those libraries from fetching compiled kernels from the hub and running them, which they
do unasked where the package `kernels` is installed (source: bitsandbytes 0.50, `backends/cpu/ops.py`): for
them it is as if it were not.
"""

import logging
import sys

sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]  # the way to say: not to be imported
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
