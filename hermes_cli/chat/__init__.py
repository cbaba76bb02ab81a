"""The heart: a session is an engine, a conversation and the options in force."""
