"""The engine for Hugging Face weights: transformers, torch and bitsandbytes, with a custom decode loop.

If the package `kernels` is installed, these libraries download compiled kernels from the hub and run them
without asking (source: bitsandbytes 0.50, `backends/cpu/ops.py`). Importing this package makes `kernels`
unavailable to prevent that.
"""

import logging
import sys

sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]  # None makes an import raise
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
