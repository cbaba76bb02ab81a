"""File formats for conversations: Markdown, JSON, and the formats of other programs."""
