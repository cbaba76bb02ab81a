"""Starts a session from the flags: the conversation to continue, the persona, the opening, and the model."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from hermes_cli.application.conversations import find_conversation, open_store
from hermes_cli.application.flags import Flags
from hermes_cli.application.follow_conversation import follow
from hermes_cli.application.load import open_engine, open_later
from hermes_cli.application.model import choose_model
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.servers import find_server
from hermes_cli.chat import saved_conversations
from hermes_cli.chat.input_text import check_text
from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import Names, PromptSettings
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.regex_scripts import RegexScripts
from hermes_cli.chat.session import Session
from hermes_cli.chat.switch_user import switch_user
from hermes_cli.chat.turn_scripts import with_scripts
from hermes_cli.errors import HermesError, PersonaError, StoreError, UsageError
from hermes_cli.options import GenerationOptions
from hermes_cli.personas import loader, template
from hermes_cli.personas.lorebook import Lorebook, without_duplicates
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.opening import macros_of, open_with
from hermes_cli.personas.persona import DEFAULT_USER, Persona
from hermes_cli.prompts.template_request import RAW
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line
from hermes_cli.store.records import StoredConversation
from hermes_cli.store.store import Store
from hermes_cli.untrusted.deadline import Deadline
from hermes_cli.user_personas import require_one

SEED_BITS = 32


def start_session(
    runtime: Runtime,
    flags: Flags,
    *,
    save: bool,
    in_background: bool = False,
    input_text: str | None = None,
) -> tuple[Session, ModelChoice]:
    """Return a session with the personas of the flags or of the earlier conversation, and the chosen model.

    `input_text` is the text of the only prompt, which the persona's system prompt may contain. It is None in
    a chat. With `save`, the conversation is saved. With `in_background`, the model is loaded on a thread. All
    flags are validated first, because loading the model takes longest.
    """
    if flags.user is not None:
        require_one(runtime.settings.users, flags.user)
    recorder = _open_recorder(runtime, save=save, required=flags.continues)
    earlier = _earlier_conversation(runtime, recorder, flags) if flags.continues or flags.fork else None
    personas = _find_personas(runtime, flags, earlier)
    if earlier is not None and flags.user is None:  # an earlier name stays
        flags = replace(flags, user=" ".join(earlier.setting.user.split()) or None)
    sampling = flags.options(runtime.settings, personas[0])
    if input_text is None and earlier is None:
        _check_templates(runtime, flags, personas)
    deadline = Deadline()
    members = open_members(runtime, flags, personas, sampling.options, deadline, input_text=input_text)
    earlier_server = _earlier_server(runtime, flags, earlier)
    model = earlier_server or flags.model
    if find_server(runtime, model) is not None:
        flags.check_server()
    choice = choose_model(runtime, model, flags.plan_request(runtime.settings, personas[0]))
    if earlier_server:
        choice.selected = choice.selected._replace(reason="it gave the last answer of this conversation")
    choice.check_options(sampling)
    choice.is_for_group = len(personas) > 1
    recorder.set_model(choice.precision, choice.server_argument)
    warnings = list[str]()
    engine = (
        open_later(runtime, choice, fallback=flags.fallback)
        if in_background
        else open_engine(runtime, choice, fallback=flags.fallback, notify_later=warnings.append)
    )
    session = Session(engine, members, sampling, recorder, deadline=deadline)
    session.warnings = warnings
    if earlier is not None:
        saved_conversations.resume(session, earlier, members)
        if flags.personas and [persona.key for persona in personas] != earlier.persona_keys:
            runtime.terminal.notice(_change_personas(session, members, earlier))
        if flags.user is not None:  # earlier messages keep the earlier name
            switch_user(session, runtime.settings.find_user(flags.user))
        if flags.system is not None:
            session.set_system(flags.system or None)
    return session, choice


def start_completion(runtime: Runtime, flags: Flags) -> Session:
    """Return a session that completes plain text: without a persona, a system prompt or a chat template.

    It is not saved.
    """
    member = Member(prompt_settings=PromptSettings(names=Names.NEVER))
    sampling = flags.options(runtime.settings, member.persona)
    request = flags.plan_request(runtime.settings)._replace(chat_template=RAW)
    choice = choose_model(runtime, flags.model, request)
    choice.check_options(sampling)
    engine = open_engine(runtime, choice, fallback=flags.fallback)
    return Session(engine, [member], sampling)


def _check_templates(runtime: Runtime, flags: Flags, personas: Sequence[Persona]) -> None:
    """Print a notice if a new chat with the personas has no value for `{{input}}`.

    Raises UsageError if a variable has no value.
    """
    for persona in personas:
        template.chat_values(persona, _assignments_for(flags, persona, personas))
        if template.INPUT in template.variables(persona):
            runtime.terminal.notice(
                f"{sanitize_line(persona.name)}: {{{{input}}}} has no value in a chat; "
                f"'{template.IN_A_CHAT}' replaces it"
            )


def _change_personas(session: Session, members: Sequence[Member], earlier: StoredConversation) -> str:
    """Give a resumed conversation other personas, and return a notice about what this changes."""
    before = session.members[0].opening
    restored = zip(session.members, members, strict=False)
    session.change_personas([replace(old, opening=new.opening, file=new.file) for old, new in restored])
    opening = members[0].opening
    changed = ["the system prompt"] if opening.system != before.system else []
    changed += ["the examples"] if opening.examples != before.examples else []
    names = " and ".join(sanitize_line(member.persona.name) for member in members)
    verb, plays = ("replace", "now play") if len(members) > 1 else ("replaces", "now plays")
    old_names = " and ".join(map(sanitize_line, earlier.names))
    replaced = f" {verb} {old_names}" if earlier.persona else f" {plays}"
    what = f"; {' and '.join(changed)} changed" if changed else ""
    return f"{names}{replaced} in this conversation{what}; its turns did not"


def open_members(
    runtime: Runtime,
    flags: Flags,
    personas: Sequence[Persona],
    options: GenerationOptions,
    deadline: Deadline,
    *,
    input_text: str | None = None,
) -> list[Member]:
    """Return the personas as members of a new conversation, as `open_member` does. They share variables."""
    group = ", ".join(persona.called for persona in personas) if len(personas) > 1 else ""
    seed = options.seed if options.seed is not None else secrets.randbits(SEED_BITS)
    shared = Macros("", "", seed, group=group)
    return [
        open_member(
            runtime,
            replace(flags, variables=_assignments_for(flags, persona, personas)),
            persona,
            shared,
            deadline,
            input_text=input_text,
        )
        for persona in personas
    ]


def open_member(
    runtime: Runtime,
    flags: Flags,
    persona: Persona,
    shared: Macros,
    deadline: Deadline,
    *,
    input_text: str | None = None,
) -> Member:
    """Return the persona as a member of a new conversation, with its opening and prompt settings.

    The macros are expanded before the deadline, which the first turn shares. Their seed, variables and group
    are those of the `shared` macros. Print a notice about those that are not expanded, and for each missing
    lorebook. Raises PersonaError if a lorebook cannot be used, and UsageError if a flag is invalid.
    """
    user = flags.user
    if user is not None and (not user.strip() or len(user.splitlines()) > 1):
        raise UsageError("--user takes a name on a single line")
    chosen = runtime.settings.user_for(persona.user, DEFAULT_USER, check_text(user or "", "--user"))
    macros = macros_of(persona, chosen.name, shared.seed, chosen.description)
    macros = replace(macros, state=shared.state, group=shared.group)
    if input_text is None:
        assignments = _assignments(flags)
        values = template.chat_values(persona, assignments) if assignments else {}
        macros = replace(macros, template_values=values)
    else:
        values = template_values(flags, persona, input_text)
    filled = replace(macros, template_values=values)
    opening = open_with(persona, filled, chosen.description, deadline)
    if deadline.report:
        runtime.terminal.notice(f"{sanitize_line(persona.name)}: {deadline.report}")
        deadline.skipped.clear()  # printed
    if flags.system is not None:
        system = check_text(flags.system, "--system")
        opening = opening._replace(system=system or None, character_at=len(system))
    own_values = values and (input_text is None or template.system_variables(persona))
    is_shared = flags.system is None and not own_values
    opening = opening._replace(cacheable=is_shared and not flags.no_log)
    settings = PromptSettings(
        macros,
        _lorebooks(runtime, flags, persona),
        persona.post_history,
        persona.note,
        None,
        persona.is_character,
        flags.overflow(runtime.settings, interactive=runtime.terminal.interactive),
        runtime.settings.lore,
        fills_turns=persona.is_character,
        names=Names(runtime.settings.names),
        scripts=RegexScripts(persona.regex, is_on=runtime.settings.regex_scripts),
    )
    opening = with_scripts(opening, settings, deadline)
    return Member(persona, opening, settings, _file_of(runtime, persona))


def _lorebooks(runtime: Runtime, flags: Flags, persona: Persona) -> tuple[Lorebook, ...]:
    """Return the lorebooks of a persona and of the flags. Print a notice for each that is missing."""
    worlds = loader.lorebooks(persona, runtime.paths.lore)
    for name in worlds.missing:
        runtime.terminal.notice(
            f"{sanitize_line(persona.name)}: the world '{sanitize_line(name)}' is missing"
        )
    extra_books = (loader.find_lorebook(name, runtime.paths.lore) for name in flags.lore or ())
    return without_duplicates((*worlds.books, *extra_books))


def template_values(flags: Flags, persona: Persona, input_text: str) -> dict[str, str]:
    """Return the values of the variables of a persona. Raises UsageError as `template.values` does."""
    return template.values(persona, _assignments(flags), input_text)


def _assignments_for(flags: Flags, persona: Persona, personas: Sequence[Persona]) -> list[str]:
    """Return the assignments of --var for a persona: those that no other one of the group uses, too."""
    assignments = _assignments(flags)
    used = {text for other in personas for text in template.used_assignments(other, assignments)}
    own = template.used_assignments(persona, assignments)
    return [text for text in assignments if text in own or text not in used]


def _assignments(flags: Flags) -> list[str]:
    return [check_text(text, "--var") for text in flags.variables or ()]


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
    if store is None:
        store = Store()
        runtime.at_exit.callback(store.close)  # the recorder closes only the store that it uses last
    recorder = Recorder(store, lambda error: report(error, "saving stopped"))
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


def _earlier_server(runtime: Runtime, flags: Flags, earlier: StoredConversation | None) -> str | None:
    """Return the argument of -m for the server that gave the last answer of an earlier conversation.

    Return None if a flag or the environment chooses another model, or a flag is for one on this machine.
    """
    server = earlier.setting.server if earlier is not None else ""
    is_chosen = flags.model is not None or runtime.settings.source("model").startswith("environment")
    if not server or is_chosen or flags.is_for_this_machine:
        return None
    problem = "it is not in the config file any more"
    try:
        if find_server(runtime, server) is not None:
            return server
    except HermesError as error:
        problem = error.message
    runtime.terminal.notice(f"The last answer is from {sanitize_line(server)}: {problem}")
    return None


def _find_personas(runtime: Runtime, flags: Flags, earlier: StoredConversation | None) -> list[Persona]:
    """Return the personas named by the flags, or else those of the earlier conversation."""
    if flags.personas:
        found = [runtime.persona(name) for name in flags.personas]
        names = [persona.called for persona in found]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(
                f"two of the personas have the name {sanitize_line(twice)}", "a group needs different names"
            )
        return found
    if earlier is None or not earlier.persona:
        return [runtime.persona(None)]
    listed = earlier_personas(runtime, earlier)
    if len(listed) == 1:
        return [listed[0] or runtime.persona(None)]
    known = zip(listed, earlier.names, earlier.persona_keys, strict=True)
    return [persona or Persona(name, "", Path(f"{key}.toml")) for persona, name, key in known]


def earlier_personas(runtime: Runtime, earlier: StoredConversation) -> list[Persona | None]:
    """Return the personas of an earlier conversation. Print a notice for each that is gone; it is None."""
    saved = zip(earlier.persona_keys, earlier.persona_files, strict=True)
    found = [_earlier_persona(runtime, key, file) for key, file in saved]
    if None in found and len(found) > 1:
        runtime.terminal.notice("in a group, -p must name all characters; without -p, the others stay")
    return found


def _earlier_persona(runtime: Runtime, key: str, file: str) -> Persona | None:
    if file:
        return _persona_in_file(runtime, key, Path(file))
    persona = runtime.listed_persona(key) if key else None
    if persona is None and key:
        name = sanitize_line(key)
        runtime.terminal.notice(f"there is no persona '{name}' in the list; if it was a file, add -p FILE")
    return persona


def _persona_in_file(runtime: Runtime, key: str, file: Path) -> Persona | None:
    """Return the persona of an earlier conversation from the file that the user gave. Print which file.

    If the file is gone or invalid, print a notice and return None.
    """
    name, shown, terminal = sanitize_line(key), sanitize_line(str(file), LONG_LINE), runtime.terminal
    if not (file.is_absolute() and loader.is_file(file)):
        terminal.notice(f"the file of the persona '{name}' is gone: {shown}; if you moved it, add -p FILE")
        return None
    try:
        persona = loader.load_file(file)
    except PersonaError as error:
        terminal.notice(f"the persona '{name}' is not used: {sanitize_line(error.message, LONG_LINE)}")
        return None
    terminal.notice(f"the persona '{name}' is read from {shown}")
    return persona


def _file_of(runtime: Runtime, persona: Persona) -> str:
    """Return the absolute path of a persona's file, or an empty string if the list of personas has it."""
    source = persona.source.absolute()
    folders = {folder.resolve() for folder in (runtime.paths.personas, loader.shipped_dir())}
    return "" if source.parent.resolve() in folders else str(source)
