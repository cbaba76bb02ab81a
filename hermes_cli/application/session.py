"""Starts a session from the flags: the conversation to continue, the persona, the opening, and the model."""

import secrets
from dataclasses import replace

import typer

from hermes_cli.application.conversations import find_conversation, open_store
from hermes_cli.application.flags import Flags
from hermes_cli.application.follow_conversation import follow
from hermes_cli.application.load import open_engine, open_later
from hermes_cli.application.model import ModelChoice, choose_model
from hermes_cli.application.runtime import Runtime
from hermes_cli.chat import saved_conversations
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.regex_scripts import RegexScripts
from hermes_cli.chat.session import Session
from hermes_cli.chat.switch_user import switch_user
from hermes_cli.chat.turn_scripts import with_scripts
from hermes_cli.errors import StoreError, UsageError
from hermes_cli.messages import Opening
from hermes_cli.options import GenerationOptions
from hermes_cli.personas import loader, template
from hermes_cli.personas.lorebook import without_duplicates
from hermes_cli.personas.opening import macros_of, open_with
from hermes_cli.personas.persona import DEFAULT_USER, Persona
from hermes_cli.screen.sanitize import sanitize_line
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.untrusted.deadline import Deadline

SEED_BITS = 32


def start_session(
    runtime: Runtime,
    flags: Flags,
    *,
    save: bool,
    in_background: bool = False,
    input_text: str | None = None,
) -> tuple[Persona, Session, ModelChoice]:
    """Return the persona, a session with it, and the chosen model.

    `input_text` is the text of the only prompt, which the persona's system prompt may contain. It is None in
    a chat. With `save`, the conversation is saved. With `in_background`, the model is loaded on a thread. All
    flags are validated first, because loading the model takes longest.
    """
    recorder = _open_recorder(runtime, save=save, required=flags.continues)
    earlier = _earlier_conversation(runtime, recorder, flags) if flags.continues or flags.fork else None
    persona = _find_persona(runtime, flags, earlier)
    if earlier is not None and flags.user is None:  # an earlier name stays
        flags = replace(flags, user=" ".join(earlier.setting.user.split()) or None)
    sampling = flags.options(runtime.settings, persona)
    deadline = Deadline()
    opening, prompt_settings = open_conversation(
        runtime, flags, persona, sampling.options, deadline, input_text=input_text
    )
    choice = choose_model(runtime, flags.model, flags.plan_request(runtime.settings, persona))
    choice.check_options(sampling)
    recorder.persona = persona.key
    recorder.precision = choice.plan.precision if choice.plan else ""
    engine = (
        open_later(runtime, choice, fallback=flags.fallback)
        if in_background
        else open_engine(runtime, choice, fallback=flags.fallback)
    )
    session = Session(engine, opening, sampling, recorder, prompt_settings, deadline=deadline)
    if earlier is not None:
        saved_conversations.resume(session, earlier)
        if flags.persona is not None and persona.key != earlier.persona:
            runtime.terminal.notice(_change_persona(session, persona, opening, earlier))
        if flags.user is not None:  # earlier messages keep the earlier name
            switch_user(session, persona, runtime.settings.find_user(flags.user))
        if flags.system is not None:
            session.set_system(flags.system or None)
    return persona, session, choice


def _change_persona(session: Session, persona: Persona, opening: Opening, earlier: StoredConversation) -> str:
    """Give a resumed conversation another persona, and return a notice about what this changes."""
    before = session.opening
    session.set_persona(persona.key, opening)
    changed = ["the system prompt"] if opening.system != before.system else []
    changed += ["the examples"] if opening.examples != before.examples else []
    replaced = f" replaces {sanitize_line(earlier.persona)}" if earlier.persona else " now plays"
    what = f"; {' and '.join(changed)} changed" if changed else ""
    return f"{sanitize_line(persona.name)}{replaced} in this conversation{what}; its turns did not"


def open_conversation(
    runtime: Runtime,
    flags: Flags,
    persona: Persona,
    options: GenerationOptions,
    deadline: Deadline,
    *,
    input_text: str | None = None,
) -> tuple[Opening, PromptSettings]:
    """Return the opening of a conversation with the persona, and the other parts of its prompts.

    The macros are expanded before the deadline, which the first turn shares. Print a notice about those that
    are not, and for each missing lorebook. Without a seed in the options, the macros use a random one.
    Raises PersonaError if a lorebook cannot be used, and UsageError if a flag is invalid.
    """
    user = flags.user
    if user is not None and (not user.strip() or len(user.splitlines()) > 1):
        raise UsageError("--user takes a name on a single line")
    chosen = runtime.settings.user_for(persona.user, DEFAULT_USER, check_text(user or "", "--user"))
    seed = options.seed if options.seed is not None else secrets.randbits(SEED_BITS)
    macros = macros_of(persona, chosen.name, seed, chosen.description)
    values = template_values(flags, persona, input_text) if input_text is not None else {}
    filled = replace(macros, template_values=values)
    opening = open_with(persona, filled, chosen.description, deadline)
    if deadline.report:
        runtime.terminal.notice(f"{sanitize_line(persona.name)}: {deadline.report}")
        deadline.skipped.clear()  # printed
    if flags.system is not None:
        system = check_text(flags.system, "--system")
        opening = replace(opening, system=system or None, character_at=len(system))
    is_shared = flags.system is None and not (values and template.system_variables(persona))
    opening = replace(opening, cacheable=is_shared and not flags.no_log)
    worlds = loader.lorebooks(persona, runtime.paths.lore)
    for name in worlds.missing:
        runtime.terminal.notice(
            f"{sanitize_line(persona.name)}: the world '{sanitize_line(name)}' is missing"
        )
    extra_books = (loader.find_lorebook(name, runtime.paths.lore) for name in flags.lore or ())
    settings = PromptSettings(
        macros,
        without_duplicates((*worlds.books, *extra_books)),
        persona.post_history,
        persona.note,
        None,
        persona.is_character,
        flags.overflow(runtime.settings, interactive=runtime.terminal.interactive),
        runtime.settings.lore,
        fills_turns=persona.is_character,
        scripts=RegexScripts(persona.regex, is_on=runtime.settings.regex_scripts),
    )
    return with_scripts(opening, settings, deadline), settings


def template_values(flags: Flags, persona: Persona, input_text: str) -> dict[str, str]:
    """Return the values of the variables of a persona. Raises UsageError as `template.values` does."""
    assignments = [check_text(text, "--var") for text in flags.variables or ()]
    return template.values(persona, assignments, input_text)


def _open_recorder(runtime: Runtime, *, save: bool, required: bool) -> Recorder:
    """Return the recorder of a conversation. If the store cannot be opened, print the error and save nothing.

    If a store is `required`, raise StoreError instead.
    """

    def report(error: StoreError, effect: str) -> None:
        runtime.terminal.error(f"{effect}: {error.message}", f"  {error.hint}" if error.hint else "")

    store = None
    if save:
        try:
            store = open_store(runtime)
        except StoreError as error:
            if required:
                raise
            if not runtime.home_problem:  # it is already printed
                report(error, "this conversation is not saved")
    recorder = Recorder(store or Store(), lambda error: report(error, "saving stopped"))
    runtime.at_exit.callback(recorder.close)
    return recorder


def _earlier_conversation(runtime: Runtime, recorder: Recorder, flags: Flags) -> StoredConversation:
    """Lock and return the conversation that the flags request, or a copy of it.

    If another process has it open, ask the user what to do. Raises UsageError if there is no such
    conversation, StoreError if it cannot be locked, and typer.Exit after the user has read along.
    """
    if not flags.continue_last and flags.resume is None:
        raise UsageError("--fork needs a conversation", "name it with -r, or use -c for the most recent one")
    store = recorder.store
    if store is None or store.file is None:
        raise UsageError("--no-log cannot continue a saved conversation", "omit --no-log")
    found = find_conversation(store, flags.resume)
    if not flags.fork and store.locks.acquire(found.id):
        return store.conversation(found.id) or found  # may have grown before it was locked
    if flags.fork or _confirm_fork(runtime, store, found):
        return store.conversation(saved_conversations.copy(store, found.id)) or found
    raise saved_conversations.open_elsewhere(found, f"-r {found.id} --fork")


def _confirm_fork(runtime: Runtime, store: Store, found: StoredConversation) -> bool:
    """Ask whether to fork a conversation that another process has open, or to read along and exit."""
    terminal = runtime.terminal
    if not (terminal.stdin_is_tty and terminal.stderr_is_tty):
        return False
    terminal.notice(f"'{sanitize_line(found.title)}' is open in another window.")
    answer = terminal.ask("(f)ork it and continue in the copy, or (r)ead along? ").strip().lower()
    if answer.startswith("r"):
        follow(runtime, store, found.id)
        raise typer.Exit
    return answer.startswith("f")


def _find_persona(runtime: Runtime, flags: Flags, earlier: StoredConversation | None) -> Persona:
    """Return the persona named by the flags, or else that of the earlier conversation."""
    if flags.persona is None and earlier is not None and earlier.persona:
        if any(row.key == earlier.persona and row.persona for row in runtime.personas()):  # not a file
            return runtime.persona(earlier.persona)
        name = sanitize_line(earlier.persona)
        runtime.terminal.notice(f"there is no persona '{name}' in the list; if it was a file, add -p FILE")
    return runtime.persona(flags.persona)
