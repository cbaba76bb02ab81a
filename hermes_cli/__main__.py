"""The entry point of `hermes`, `openhermes` and `python -m hermes_cli`.

Signal handlers are installed before anything else is imported, so that Ctrl-C during the start prints no
traceback.
"""

import os
import signal


def main() -> None:
    """Run hermes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, lambda n, _: os._exit(128 + n))
    from hermes_cli import app

    app.main()


if __name__ == "__main__":
    main()
