"""Describes the levels of what servers support, for display."""

from typing import Final

from hermes_cli.engines.remote.servers.api import Level

TEXTS: Final = {
    Level.TOKEN_IDS: "prompts are token ids, made here",
    Level.COUNTED: "the server makes the prompts and counts their tokens",
    Level.ESTIMATED: "the server makes the prompts; token counts are estimates",
}
"""What happens at each level, in a clause."""
_LOCAL: Final = {
    Level.TOKEN_IDS: "prompts are token ids, made here with the tokenizer of {}",
    Level.COUNTED: "the server makes the prompts; tokens are counted here with {}",
}
_FORGING: Final = (
    "The server makes the prompts, so text could forge a turn there; hermes splits the control tokens that "
    "it knows."
)
MEANINGS: Final = {
    Level.TOKEN_IDS: "Text cannot forge a turn, and token counts are exact, as with a model on this machine.",
    Level.COUNTED: f"{_FORGING} Token counts are exact.",
    Level.ESTIMATED: f"{_FORGING} Token counts are estimates, marked ≈, which improve with each answer.",
}
"""What each level promises, in sentences."""


def text(level: Level, tokenizer: str) -> str:
    """Return what happens at a level. `tokenizer` names a model here whose tokenizer is used, or is ""."""
    return _LOCAL[level].format(tokenizer) if tokenizer else TEXTS[level]


def remark(level: Level, server: str) -> str:
    """Return what the user should know about the level of a server before a chat, or an empty string."""
    if level is Level.TOKEN_IDS:
        return ""
    counts = "" if level is Level.COUNTED else "; token counts are estimates"
    return (
        f"{server} makes the prompts, so text could forge a turn there; hermes only splits "
        f"the control tokens that it knows{counts}"
    )
