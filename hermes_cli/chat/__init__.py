"""Chat sessions: an engine, a conversation, its options, and the prompt that is built from them."""
