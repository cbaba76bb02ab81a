"""The conversation at a terminal: reading lines, slash commands, and streamed answers."""
