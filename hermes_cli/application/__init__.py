"""The implementation of the `hermes` commands: models, sessions, prompts, personas, import and export."""
