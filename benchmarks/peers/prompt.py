"""The peer of row C8: a bare prompt of prompt_toolkit."""

from prompt_toolkit import PromptSession

PromptSession[str]().prompt("> ")
