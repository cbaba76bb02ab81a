"""The peer of row C8: a prompt of prompt_toolkit, and nothing behind it."""

from prompt_toolkit import PromptSession

PromptSession[str]().prompt("> ")
