"""Long stress tests of storage, persona files and prompts; their figures are in docs/."""
