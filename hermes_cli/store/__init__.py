"""Every conversation, on disk before it is on screen: a tree of messages in SQLite."""
