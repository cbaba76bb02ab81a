"""`python -m hermes_cli` is `hermes`."""

from hermes_cli.app import main

main()
