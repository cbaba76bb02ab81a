"""`hermes personas check`: token counts and problems of a persona.

Without a model, the token counts are estimates.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

from hermes_cli.application.flags import Flags
from hermes_cli.application.model import choose_model, known_choice
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.tokenizer import MAX_TOKENS, PromptTokenizer, open_tokenizer
from hermes_cli.chat.lore import LoreMatcher
from hermes_cli.chat.lore_budget import LoreBudget
from hermes_cli.chat.regex_scripts import RegexScripts
from hermes_cli.errors import HermesError, PersonaError, ResourcesExhausted
from hermes_cli.lore_settings import LoreSettings
from hermes_cli.messages import Message, Opening, Role
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.personas import check, loader
from hermes_cli.personas.check import Scale
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import macros_of, open_with
from hermes_cli.personas.persona import DEFAULT_USER, Persona
from hermes_cli.screen.columns import columns, pluralize
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.untrusted.deadline import Deadline

USER_TURN = Message(Role.USER, "")


@dataclass(frozen=True, slots=True)
class PersonaTokenizer:
    """A token counter, the context window in tokens, and a description of the tokenizer."""

    count: Callable[[str], int]
    window: int
    description: str


def check_persona(runtime: Runtime, flags: Flags, name: str) -> None:
    """Write the token counts and the findings about a persona to standard output.

    Raises PersonaError if the persona cannot be used at all.
    """
    subject = _find_subject(runtime, name)
    persona = subject if isinstance(subject, Persona) else None
    request = flags.plan_request(runtime.settings, persona)
    with _token_counter(runtime, flags.model, request) as tokens:
        sizes, findings = _check(runtime, subject, tokens)
    runtime.terminal.write_rows(columns(sizes))
    if findings:
        runtime.terminal.write_rows("\n".join(findings))
    runtime.terminal.notice(f"tokens: {tokens.description}; context: {tokens.window:,}")
    runtime.terminal.notice(pluralize(len(findings), "problem") if findings else "no problems found")


def estimated_findings(runtime: Runtime, persona: Persona) -> list[str]:
    """Return the findings about a persona, with estimated token counts."""
    return _check(runtime, persona, _estimate(persona.context or runtime.settings.context))[1]


def _find_subject(runtime: Runtime, name: str) -> Persona | Lorebook:
    try:
        return runtime.persona(name)
    except PersonaError:
        with suppress(PersonaError):
            return loader.find_lorebook(name, runtime.paths.lore)
        raise


def _check(
    runtime: Runtime, subject: Persona | Lorebook, tokens: PersonaTokenizer
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return the rows of the token count table, and the findings."""
    if isinstance(subject, Lorebook):
        scale = _scale(tokens, [subject], runtime.settings.lore)
        total = sum(tokens.count(entry.content) for entry in subject.entries)
        row = ("lore", pluralize(total, "token"), pluralize(len(subject.entries), "entry", "entries"))
        return [row], check.book_findings(subject, [subject], scale)
    worlds = loader.lorebooks(subject, runtime.paths.lore)
    user = runtime.settings.user_for(subject.user, DEFAULT_USER)
    macros = macros_of(subject, user.name, about_user=user.description)
    opening = open_with(subject, macros, user.description)
    scale = _scale(tokens, worlds.books, runtime.settings.lore)
    lore = LoreMatcher(worlds.books, macros, runtime.settings.lore)
    left_out = _constant_left_out(lore, opening, tokens)
    rows = [_row(part, scale) for part in check.parts(subject, opening, worlds.books, left_out)]
    findings = check.findings(subject, opening, worlds, scale, left_out)
    findings += _broken_scripts(subject, macros)
    if subject.original and not loader.is_file(subject.original):
        findings.append(
            f"{subject.original} is missing; an export will lack the fields that only it contains"
        )
    return rows, findings


def _broken_scripts(persona: Persona, macros: Macros) -> list[str]:
    """Return a finding about each regex script whose expression is invalid or too large."""
    scripts = RegexScripts(persona.regex)
    numbers = [number for number, script in enumerate(persona.regex) if script.enabled and script.find]
    scripts.run("x", numbers, macros)
    return [
        f"the regex script '{sanitize_line(persona.regex[number].title)}' does not run: {reason}"
        for number, reason in scripts.state.disabled.items()
    ]


def _constant_left_out(lore: LoreMatcher, opening: Opening, tokens: PersonaTokenizer) -> set[int]:
    """Return the numbers of the constant entries that a prompt has no room for."""
    budget = LoreBudget(lore, tokens.window, lambda message: tokens.count(message.text))
    kept, _, _ = budget.always(opening.system, Deadline(), opening.character_at)
    written = {number for number in lore.always() if lore.entries[number][0].content.strip()}
    return written - {active.number for active in kept}


def _row(part: check.PersonaPart, scale: Scale) -> tuple[str, str, str]:
    counts = [scale.tokens(text) for text in part.texts]
    several = f"{pluralize(len(counts), 'text')}, the longest {max(counts):,}" if len(counts) > 1 else ""
    return (part.name, pluralize(sum(counts), "token"), several)


def _scale(tokens: PersonaTokenizer, books: Sequence[Lorebook], settings: LoreSettings) -> Scale:
    """Return the limits and functions of the check, after finding the keys that can never match."""
    keys = [key for book in books for entry in book.entries for key in (*entry.keys, *entry.secondary)]
    lore = LoreMatcher([Lorebook(tuple(LoreEntry("", (key,), scan_depth=1) for key in keys))], Macros("", ""))
    lore.fires([USER_TURN], {})
    broken = lore.disabled_keys
    return Scale(tokens.window, settings, tokens.count, lambda key: broken.get(key, ""))


@contextmanager
def _token_counter(runtime: Runtime, name: str | None, request: PlanRequest) -> Iterator[PersonaTokenizer]:
    """Yield the token counter of the named or default model, or an estimator if there is none."""
    choice = _choice(runtime, name, request)
    if choice is None and name is None:
        yield _estimate(request.context_size)
        return
    with open_tokenizer(runtime, name, request) as tokenizer:
        planned = choice.plan.context_size if choice and choice.plan else check.USUAL_WINDOW
        description = choice.summary if choice else f"{name}, which is too large to load here"
        yield PersonaTokenizer(_count_function(tokenizer), request.context_size or planned, description)


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


def _estimate(window: int | None) -> PersonaTokenizer:
    description = "estimated, one per four bytes; -m MODEL counts them exactly"
    return PersonaTokenizer(check.estimate, window or check.USUAL_WINDOW, description)


def _count_function(tokenizer: PromptTokenizer) -> Callable[[str], int]:
    """Return a function that counts the tokens of a string as a separate turn, as in a chat."""
    baseline = tokenizer.count_tokens([USER_TURN], MAX_TOKENS // 2)

    @cache
    def count(text: str) -> int:
        if not text.strip():
            return 0
        messages = [Message(Role.SYSTEM, text), USER_TURN]
        return tokenizer.count_tokens(messages, MAX_TOKENS // 2) - baseline

    return count
