"""Slash commands for the persona, the model, the system prompt and the options.

Every command takes the state and its argument as a string, and raises HermesError if it fails.
"""

from hermes_cli import options
from hermes_cli.errors import ContextOverflow, UsageError
from hermes_cli.messages import Role
from hermes_cli.options import FIELDS, LayeredOptions, OptionError
from hermes_cli.repl.commands import context_view
from hermes_cli.repl.state import ReplState
from hermes_cli.repl.toolbar import ABOUT
from hermes_cli.screen.columns import pluralize
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line


def leave(state: ReplState, _argument: str) -> None:
    """End the conversation (`/exit`)."""
    state.running = False


def clear(state: ReplState, _argument: str) -> None:
    """Start a new conversation with the same system prompt, examples and greeting (`/clear`)."""
    state.session.clear()
    state.notice("Started a new conversation.")
    state.greet()


def system(state: ReplState, argument: str) -> None:
    """Show, replace or remove the system prompt; the turns are unchanged (`/system`)."""
    if not argument:
        state.show(state.session.conversation.system or "There is no system prompt.")
        return
    if argument == "-" and not state.session.conversation.system:
        state.notice("There is no system prompt.")
        return
    state.session.set_system(None if argument == "-" else argument)
    state.notice("Removed the system prompt." if argument == "-" else "Changed the system prompt.")


def persona(state: ReplState, argument: str) -> None:
    """List the personas, or start a new conversation with one (`/persona`)."""
    if not argument:
        rows = state.host.persona_names()
        state.show_rows([(_marked(name, state.persona.key), text) for name, text in rows.items()])
        return
    chosen = state.host.find_persona(argument)
    member, deadline = state.host.open_member(chosen)
    state.session.options = keep_set_by_hand(state.session.options, state.host.options_for(chosen))
    state.session.restart([member], deadline)
    state.persona_from = "/persona"
    state.notice(f"Started a new conversation with {sanitize_line(chosen.name)}.")
    if chosen.context not in {None, state.session.engine.context_size}:
        state.notice(
            f"It requests another context window; /context {chosen.context} reloads the model with it."
        )
    state.greet()


def keep_set_by_hand(old: LayeredOptions, new: LayeredOptions) -> LayeredOptions:
    """Return the new options with the old values from `/set`, which last for the whole run."""
    values = {name: getattr(old.options, name) for name, source in old.sources.items() if source == SET}
    return new.with_layer(values, SET)


def model(state: ReplState, argument: str) -> None:
    """List the models and the servers, or continue the conversation with another one (`/model`)."""
    if not argument:
        rows, current = state.host.model_names(), state.host.current_model()
        state.show_rows(
            [(_marked(name, current), text) for name, text in rows.items()],
            "There is no model on this machine; 'hermes models pull' downloads one.",
        )
        return
    state.host.use_model(argument, state.session, state.persona)
    state.notice(f"Switched to {sanitize_line(state.host.describe_model(), LONG_LINE)}")


SET = "/set"


def set_option(state: ReplState, argument: str) -> None:
    """List the options, describe one, or set one for the rest of the run (`/set`)."""
    if not argument:
        state.show_rows(options_rows(state))
        return
    name, _, text = argument.removeprefix("parameter ").strip().partition(" ")  # ollama's spelling
    name, text = name.replace("-", "_"), text.strip()
    if name == "system":
        system(state, text)
        return
    if name in {"context", "num_ctx"}:
        context_view.context(state, text)
        return
    if not text and name in FIELDS:
        layered, known = state.session.options, FIELDS[name]
        shown = options.value_text(getattr(layered.options, name))
        takes = "takes text" if known.kind is str else f"can be {known.range_text}"
        state.show(f"{name} = {shown} ({layered.source(name)}); it {takes}. {known.help}")
        return
    if text == "default" and name in FIELDS:
        initial = state.host.options_for(state.persona)
        value, source = getattr(initial.options, name), initial.source(name)
    else:
        value, source = _parse(name, text), SET
    changed = state.session.options.with_layer({name: value}, source)
    state.host.check_options(changed)
    state.session.options = changed
    state.notice(f"{name} = {options.value_text(value)}" + (f" ({source})" if source != SET else ""))


def _parse(name: str, text: str) -> object:
    try:
        return options.parse_text(name, text)
    except OptionError as error:
        raise UsageError(str(error), "/set lists the options") from None


def options_rows(state: ReplState) -> list[tuple[str, ...]]:
    """Return every option with its value, range and source."""
    layered, left = state.session.options, state.host.options_left_to_server()
    rows = list[tuple[str, ...]]()
    for name, known in FIELDS.items():
        value, source = options.value_text(getattr(layered.options, name)), layered.source(name)
        if name in left:
            value, source = "-", "not sent; the server decides"
        rows.append((name, value, known.range_text, source))
    return rows


def show(state: ReplState, argument: str) -> None:
    """Show the model, persona, context and options, or the exact prompt (`/show`)."""
    if argument == "prompt":
        _show_prompt(state)
        return
    if argument:
        raise UsageError(f"/show does not take '{argument}'", "use /show or /show prompt")
    session = state.session
    used = session.assembled().tokens  # as /context and the toolbar count
    about = ABOUT if session.engine.estimates_tokens else ""
    turns = pluralize(sum(node.role is Role.USER for node in session.tree.path), "turn")
    rows = {
        "model": state.host.describe_model(),
        "persona": f"{state.persona.name} ({state.persona_from}; {state.persona.source})",
        **({"characters": session.prompt_settings.macros.group} if len(session.members) > 1 else {}),
        "context": f"{about}{used:,} of {session.engine.context_size:,} tokens, {turns}",
    }
    state.show_rows(list(rows.items()))
    state.show_rows(options_rows(state))


_CARRIAGE_RETURN = "\N{SYMBOL FOR CARRIAGE RETURN}"
"""Shown in a prompt, because terminals do not show the character itself."""


def _show_prompt(state: ReplState) -> None:
    prompt = state.session.next_prompt()
    if not prompt.is_counted:
        raise ContextOverflow(prompt.tokens, prompt.window)
    tokens = state.session.engine.prompt_tokens(prompt.messages)
    control = {token.data for token in tokens if token.control}
    text = b"".join(b"\0" if token.control else token.data for token in tokens)
    shown = b"".join(token.data for token in tokens).decode("utf-8", "replace")
    state.terminal.plain(shown.replace("\r", _CARRIAGE_RETURN))
    remark = f"{len(tokens):,} tokens, {sum(token.control for token in tokens)} of them control tokens"
    if any(spelling in text for spelling in control):
        remark += "; text that spells one of these is sent as text"
    state.notice(f"{remark}. Your next message replaces the empty user turn.")


def _marked(name: str, current: str) -> str:
    return f"* {name}" if name == current else f"  {name}"
