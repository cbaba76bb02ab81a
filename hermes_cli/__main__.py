"""Where the program begins: `hermes`, `openhermes` and `python -m hermes_cli`.

Signals are taken before anything else is imported, so that Ctrl-C in the first moments ends hermes quietly.
"""

import os
import signal


def main() -> None:
    """Run hermes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` asks that SIGHUP be left alone
            signal.signal(number, lambda n, _: os._exit(128 + n))
    from hermes_cli import app  # noqa: PLC0415 - see above

    app.main()


if __name__ == "__main__":
    main()
