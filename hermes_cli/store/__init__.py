"""The conversation store: trees of messages in an SQLite database."""
