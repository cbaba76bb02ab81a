"""Call a function in this process: `python -m benchmarks.call MODULE:FUNCTION FD`.

The keyword arguments, in standard input, and the returned value, which is written to the file descriptor FD,
are JSON. Nothing else is imported, so that the time and the memory of the process are those of the function.
"""

import importlib
import json
import os
import sys

if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    value = getattr(importlib.import_module(module), name)(**json.load(sys.stdin))
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as result:
        json.dump(value, result)
