"""The engine for Hugging Face weights. It uses transformers, torch and bitsandbytes.

If the package `kernels` is installed, these libraries download compiled kernels from the Hugging Face Hub
and run them without asking (source: bitsandbytes 0.50, `backends/cpu/ops.py`). To prevent that, this module
blocks the import of `kernels`.
"""

import logging
import sys

sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]  # None makes an import raise
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
