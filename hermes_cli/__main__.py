"""The entry point of `hermes`, `openhermes` and `python -m hermes_cli`.

No module is taken from the current folder, and signal handlers are installed before any slow import, so that
Ctrl-C during startup prints no traceback.
"""

import gc
import os
import sys

from hermes_cli import search_paths

GARBAGE_THRESHOLD = 200_000
"""New objects before a garbage collection.

A start creates about 100,000, which stay. Collections of 700 or 2,000, Python's defaults, or a single one of
50,000 make it 5 percent slower.
"""


def main() -> None:
    """Install temporary signal handlers, then import and run the program."""
    search_paths.leave_current_folder(runs_as_module=__name__ == "__main__")
    if sys.platform == "win32":  # there are no file locks of POSIX, no termios and no SIGHUP
        sys.stderr.write("hermes: Windows is not supported\n        use the Windows Subsystem for Linux\n")
        sys.exit(69)
    gc.set_threshold(GARBAGE_THRESHOLD)
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` sets SIG_IGN for SIGHUP
            signal.signal(number, lambda n, _: os._exit(128 + n))
    from hermes_cli import app

    app.main()


if __name__ == "__main__":
    main()
