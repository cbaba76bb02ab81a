"""The conversation at a terminal: reading lines, slash commands, and answers as they come."""
