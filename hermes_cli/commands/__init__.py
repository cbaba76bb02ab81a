"""The subcommands of `hermes`, and the functions that they share."""
