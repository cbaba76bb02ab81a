"""`hermes personas check`: token counts and problems of a persona.

Without a model, the token counts are estimates.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import typer

from hermes_cli.application.flags import Flags
from hermes_cli.application.open_model import (
    ModelChoice,
    PromptTokenizer,
    choose_model,
    known_choice,
    open_tokenizer,
)
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_budget import LORE_SHARE
from hermes_cli.errors import HermesError, PersonaError, ResourcesExhausted
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.models.plan import PlanRequest
from hermes_cli.personas import check as judge
from hermes_cli.personas import loader
from hermes_cli.personas.check import Scale
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import open_with
from hermes_cli.personas.persona import DEFAULT_USER, Persona
from hermes_cli.screen.columns import columns, counted

ASKED = Message(Role.USER, "")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token counter, the context window in tokens, and a description of the tokenizer."""

    count: Callable[[str], int]
    window: int
    whose: str


def check(context: typer.Context, name: str, model: str | None) -> None:
    """Write the token counts and the findings about a persona to standard output.

    Raises PersonaError if the persona cannot be used at all.
    """
    runtime: Runtime = context.obj
    flags = Flags.from_context(context)
    subject = _subject(runtime, name)
    with _tokens(runtime, model, flags.plan_request(runtime.settings)) as tokens:
        sizes, findings = _judged(runtime, subject, tokens)
    runtime.terminal.write(columns(sizes) + "\n")
    runtime.terminal.write("".join(f"{finding}\n" for finding in findings))
    runtime.terminal.notice(f"tokens: {tokens.whose}; context: {tokens.window:,}")
    runtime.terminal.notice(counted(len(findings), "finding") if findings else "nothing to find fault with")


def by_estimate(runtime: Runtime, persona: Persona) -> list[str]:
    """Return the findings about a persona, with estimated token counts."""
    return _judged(runtime, persona, _estimated(runtime.settings.context))[1]


def _subject(runtime: Runtime, name: str) -> Persona | Lorebook:
    try:
        return runtime.persona(name)
    except PersonaError:
        try:
            return loader.find_lorebook(name, runtime.paths.lore)
        except PersonaError:
            pass
        raise


def _judged(
    runtime: Runtime, subject: Persona | Lorebook, tokens: Tokens
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return the rows of the table of token counts, and the findings."""
    if isinstance(subject, Lorebook):
        scale = _scale(tokens, [subject])
        everything = sum(tokens.count(entry.content) for entry in subject.entries)
        row = ("lore", counted(everything, "token"), counted(len(subject.entries), "entry", "entries"))
        return [row], judge.book_findings(subject, [subject], scale)
    worlds = loader.lorebooks(subject, runtime.paths.lore)
    opening = _opening(subject)
    scale = _scale(tokens, worlds.books)
    rows = [_row(part, scale) for part in judge.parts(subject, opening, worlds.books)]
    return rows, [*judge.findings(subject, opening, worlds, scale), *_lost_original(subject)]


def _opening(persona: Persona) -> Opening:
    return open_with(persona, Macros(persona.called, persona.user or DEFAULT_USER))


def _row(part: judge.PersonaPart, scale: Scale) -> tuple[str, str, str]:
    counts = [scale.tokens(text) for text in part.texts]
    several = f"{counted(len(counts), 'text')}, the longest {max(counts):,}" if len(counts) > 1 else ""
    return (part.name, counted(sum(counts), "token"), several)


def _lost_original(persona: Persona) -> Iterator[str]:
    if persona.original and not loader.is_file(persona.original):
        yield f"{persona.original} is gone: an export will lack what only that file held"


def _scale(tokens: Tokens, books: Sequence[Lorebook]) -> Scale:
    mistakes = _mistakes(
        [key for book in books for one in book.entries for key in (*one.keys, *one.secondary)]
    )
    return Scale(tokens.window, tokens.window // LORE_SHARE, tokens.count, lambda key: mistakes.get(key, ""))


def _mistakes(keys: Sequence[str]) -> dict[str, str]:
    """Return the keys that can never match, with the reason for each."""
    lore = LoreMatcher([Lorebook(tuple(LoreEntry("", (key,), scan_depth=1) for key in keys))], Macros("", ""))
    lore.fires([ASKED], {})
    return lore.disabled_keys


@contextmanager
def _tokens(runtime: Runtime, name: str | None, request: PlanRequest) -> Iterator[Tokens]:
    """Yield the token counter of the named or installed model, or an estimate if there is none."""
    choice = _choice(runtime, name, request)
    if choice is None and name is None:
        yield _estimated(request.context_size)
        return
    with open_tokenizer(runtime, name, request) as speller:
        own = choice.plan.context_size if choice and choice.plan else judge.USUAL_WINDOW
        whose = choice.summary if choice else f"{name}, which this machine cannot load"
        yield Tokens(_counter(speller), request.context_size or own, whose)


def _choice(runtime: Runtime, name: str | None, request: PlanRequest) -> ModelChoice | None:
    """Return the model that a chat would use, or None if there is none or it cannot be loaded."""
    try:
        return choose_model(runtime, name, request) if name else known_choice(runtime, request)
    except ResourcesExhausted:
        return None  # too large to load, but its tokenizer can be used
    except HermesError:
        if name:
            raise
        return None


def _estimated(window: int | None) -> Tokens:
    return Tokens(
        judge.estimate, window or judge.USUAL_WINDOW, "an estimate, one for four bytes; -m counts them"
    )


def _counter(speller: PromptTokenizer) -> Callable[[str], int]:
    """Return a function that counts the tokens of a text as a separate turn, as a chat does."""
    alone = len(speller.prompt_tokens([ASKED]))

    @cache
    def count(text: str) -> int:
        if not text.strip():
            return 0
        return len(speller.prompt_tokens([Message(Role.SYSTEM, text), ASKED])) - alone

    return count
