"""The verbs of `hermes`, one module each: parse the command line, call the application, print."""
