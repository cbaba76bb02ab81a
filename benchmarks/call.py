"""Call a function in this process: `python -m benchmarks.call MODULE:FUNCTION FILE`.

FILE contains the keyword arguments as JSON, and afterwards the returned value. Nothing else is imported, so
that the time and the memory of the process are those of the function.
"""

import importlib
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    file = Path(sys.argv[2])
    value = getattr(importlib.import_module(module), name)(**json.loads(file.read_bytes()))
    file.write_text(json.dumps(value), encoding="utf-8")
