"""The entry point of `hermes`, `openhermes` and `python -m hermes_cli`.

Signal handlers are installed before any slow import, so that Ctrl-C during startup prints no traceback.
"""

import os
import signal


def main() -> None:
    """Install temporary signal handlers, then import and run the program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` sets SIG_IGN for SIGHUP
            signal.signal(number, lambda n, _: os._exit(128 + n))
    from hermes_cli import app

    app.main()


if __name__ == "__main__":
    main()
