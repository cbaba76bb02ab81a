"""Prompt formats: conversations as token ids."""
