"""The conversation store: trees of messages in SQLite, written to disk before they are shown."""
