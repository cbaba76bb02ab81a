"""The commands of `hermes`, one module each. They parse arguments, call the application and print."""
