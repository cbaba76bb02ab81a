"""Runs a conversation in the REPL, and gives the REPL access to personas and models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hermes_cli import __version__
from hermes_cli.application.flags import SHOW, Flags
from hermes_cli.application.load import open_engine, wants_smaller
from hermes_cli.application.model import choose_model, with_request
from hermes_cli.application.model_choice import ModelChoice
from hermes_cli.application.persona_picture import show_picture
from hermes_cli.application.runtime import Runtime
from hermes_cli.application.session import earlier_personas, open_members, start_session
from hermes_cli.chat.members import Member
from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Engine
from hermes_cli.errors import UsageError
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.options import LayeredOptions
from hermes_cli.personas.lorebook import LoreEntry
from hermes_cli.personas.persona import Persona
from hermes_cli.personas.template import used_assignments
from hermes_cli.screen.sanitize import LONG_LINE, sanitize_line
from hermes_cli.screen.terminal import Terminal
from hermes_cli.store.records import StoredConversation
from hermes_cli.untrusted.deadline import Deadline
from hermes_cli.user_personas import UserPersona, require_one

if TYPE_CHECKING:
    from hermes_cli.application.prompt import PromptText  # imported only with a first message


def run_chat(runtime: Runtime, flags: Flags, first: "PromptText | None" = None) -> int:
    """Run the conversation and return its exit code. `first` is the first message, or None.

    If `first` was read from a pipe, the following messages are typed at the terminal, if there is one.
    """
    from hermes_cli.repl.answer_printer import AnswerPrinter
    from hermes_cli.repl.history import TypedLines
    from hermes_cli.repl.line_reader import LineReader
    from hermes_cli.repl.loop import Loop
    from hermes_cli.repl.prompt import PromptReader
    from hermes_cli.repl.state import ReplState

    terminal, flags = runtime.terminal, flags.with_saving(runtime.settings)
    if first is not None and terminal.stdout_is_tty:
        terminal.switch_to_keyboard()
    # At a terminal, input typed before the prompt appears is buffered for the prompt and not echoed.
    with terminal.typing(shown=not terminal.interactive):
        session, choice = start_session(
            runtime, flags, save=not flags.no_log, in_background=terminal.interactive
        )
        source = "command line" if flags.personas else runtime.settings.source("persona")
        host = ReplHost(runtime, flags, choice)
        printer = AnswerPrinter(interactive=terminal.interactive)
        state = ReplState(
            terminal,
            session,
            source,
            host,
            printer,
            statistics=flags.statistics,
            shows_reasoning=flags.thinking_mode(runtime.settings) == SHOW,
        )
        text = None
        if first is not None:
            text, state.attached = first.question, [*first.attachments]
        if not terminal.interactive:
            if not terminal.asks:
                return Loop(state, LineReader(terminal.stdin), printer).run(text)
            _print_header(terminal, choice)
            return Loop(state, LineReader(terminal.stdin, terminal.prompt), printer).run(text)
        history = state.history = TypedLines(
            runtime.paths.history,
            lambda: not (host.is_saving_disabled or runtime.home_problem),
            terminal.notice,
        )
        _print_header(terminal, choice)
        for member in session.members:
            show_picture(runtime, member.persona)
        vi_keys = runtime.settings.keys == "vi"
        return Loop(state, PromptReader(state, history, vi_keys=vi_keys), printer).run(text)


def _print_header(terminal: Terminal, choice: ModelChoice) -> None:
    terminal.notice(f"hermes {__version__} · {sanitize_line(choice.headline, LONG_LINE)} · /help")
    terminal.notice(f"{_reason_line(choice)}\n")


def _reason_line(choice: ModelChoice) -> str:
    """Return the line under the banner: the reason for this model, or a note that it is the starter."""
    if choice.is_starter:
        from hermes_cli.models.offer import SUGGESTED_MODEL

        return f"The starter is only for testing. For real use: hermes models pull {SUGGESTED_MODEL}"
    reason = choice.selected.reason
    if choice.plan and choice.plan.passed_over:
        reason = f"{reason}; {choice.plan.passed_over}"
    return sanitize_line(f"{reason[:1].upper()}{reason[1:]}.", LONG_LINE)


@dataclass
class ReplHost:
    """The host of a REPL: opens personas and models by name, and applies the command line flags."""

    runtime: Runtime
    flags: Flags
    choice: ModelChoice

    @property
    def is_saving_disabled(self) -> bool:
        """Whether messages and input lines must not be written to disk."""
        return self.flags.no_log

    @property
    def prefills_ahead(self) -> bool:
        """Whether prompts may be evaluated while the user types."""
        return self.runtime.settings.prefill_ahead

    def stop_saving(self) -> None:
        """Stop saving messages and input lines for the rest of the run, as with --no-log."""
        self.flags = replace(self.flags, no_log=True)

    def find_persona(self, name: str) -> Persona:
        """Return the persona with that name or from that file."""
        return self.runtime.persona(name)

    def earlier_personas(self, conversation: StoredConversation) -> list[Persona | None]:
        """Return the personas of a stored conversation; None for each that is gone, after a notice."""
        return earlier_personas(self.runtime, conversation)

    def persona_names(self) -> Mapping[str, str]:
        """Return the description of each persona, or the error in its file, by name."""
        return {
            row.key: row.persona.description if row.persona else f"broken: {row.error}"
            for row in self.runtime.personas()
        }

    def open_member(self, persona: Persona) -> tuple[Member, Deadline]:
        """Return the persona as the only member of a new conversation, and the deadline of its first turn.

        The prompt given with --system is ignored, and so are variables that the persona does not have.
        """
        variables = used_assignments(persona, self.flags.variables or ())
        flags, deadline = replace(self.flags, system=None, variables=variables), Deadline()
        options = self.options_for(persona).options
        (member,) = open_members(self.runtime, flags, [persona], options, deadline)
        return member, deadline

    def users(self) -> Mapping[str, UserPersona]:
        """Return the user personas of the config file by key."""
        return self.runtime.settings.users

    def use_user(self, name: str) -> UserPersona:
        """Return the user persona with that key or name, and use it in later conversations of this run."""
        require_one(self.runtime.settings.users, name)
        self.flags = replace(self.flags, user=name)
        return self.runtime.settings.find_user(name)

    def add_lore(self, persona: Persona, entry: LoreEntry) -> Path:
        """Add an entry to the user's lorebook for a persona, and return the path of the lorebook."""
        from hermes_cli.personas.folder import add_entry

        return add_entry(self.runtime.paths.lore, persona.key, entry)

    def options_for(self, persona: Persona) -> LayeredOptions:
        """Return the generation options for the persona. Raises UsageError as `check_options` does."""
        layered = self.flags.options(self.runtime.settings, persona)
        self.choice.check_options(layered)
        return layered

    def check_options(self, layered: LayeredOptions) -> None:
        """Raise UsageError if the current model does not support an option that is set."""
        self.choice.check_options(layered)

    def options_left_to_server(self) -> list[str]:
        """Return the options that the current model's server decides, because it does not have them."""
        return self.choice.options_left_to_server

    def model_names(self) -> Mapping[str, str]:
        """Return a one-line description of each model here and each server of the config file, by name.

        The current model is among them, even if it is on another server.
        """
        from hermes_cli.models import local
        from hermes_cli.models.download import size_text

        installed = {
            model.name: model.broken or f"{model.precision} {size_text(model.size)}"
            for model in local.installed(self.runtime.paths.models)
        }
        servers = {name: f"server {one.url}" for name, one in self.runtime.settings.servers.items()}
        current = {name: self.choice.summary} if (name := self.choice.server_argument) else {}
        return {**installed, **servers, **current}

    def current_model(self) -> str:
        """Return the name in `model_names` of the current model."""
        return self.choice.server_argument or (self.choice.plan.model if self.choice.plan else "")

    def model_line(self) -> str:
        """Return the model's name and precision, or its server, or "scripted"."""
        plan, server = self.choice.plan, self.choice.server
        if server is not None:
            # llama-server and vLLM name a model by its path if it has no alias.
            is_path = server.model.startswith(("/", ".")) or server.model.endswith(".gguf")
            name = PurePosixPath(server.model).name if is_path else server.model
            return sanitize_line(f"{name} · {server.label}")
        return f"{plan.model} {plan.precision}" if plan else "scripted"

    def plan_line(self) -> str:
        """Return a summary of the current model's plan. The model may still be loading."""
        return self.choice.summary

    def describe_model(self) -> str:
        """Return a summary of the current model's plan, and the reason for it."""
        return f"{self.choice.summary} ({self.choice.reason})"

    def load_smaller(self, session: Session) -> None:
        """Offer a smaller plan after the model ran out of memory while loading."""
        smaller = self.choice.plan.smaller if self.choice.plan else None
        if smaller is None or smaller.model or not wants_smaller(self.runtime, smaller):
            return
        from hermes_cli.application.local_engine import use_smaller

        use_smaller(self.choice, smaller)
        session.engine = self._open(self.choice, session)
        session.recorder.set_model(self.choice.precision, self.choice.server_argument)
        self.runtime.terminal.notice(sanitize_line(self.choice.summary, LONG_LINE))

    def use_model(self, name: str, session: Session, persona: Persona) -> None:
        """Switch the session to another model. If that fails or is interrupted, reload the previous one."""
        choice = choose_model(self.runtime, name, self.flags.plan_request(self.runtime.settings, persona))
        choice.check_options(session.options)
        choice.is_for_group = len(session.members) > 1
        self._switch(session, lambda: choice)

    def use_context(self, size: int, session: Session) -> None:
        """Reload the model with another context window. If that fails or is interrupted, reload the previous.

        The plan is made after the model is closed, because the memory that it uses is then free.
        """
        flags, model = replace(self.flags, context=str(size)), self.choice.selected.model
        if self.choice.server is not None:
            earlier = self.choice.connection
            self._switch(session, lambda: with_request(self.choice, PlanRequest(size)))
            if earlier is not None and self.choice.connection is not None:
                self.choice.connection.keep_estimate(earlier)
            self.flags = flags
            return
        if self.choice.plan is None or model is None:
            raise UsageError(
                "the scripted engine has a fixed context window", "set context_size in the script"
            )
        from hermes_cli.models.plan.context import context_limits

        request = flags.plan_request(self.runtime.settings)
        context_limits(model.facts, request.context_size)
        self._switch(session, lambda: with_request(self.choice, request))
        self.flags = flags

    def _switch(self, session: Session, choose: Callable[[], ModelChoice]) -> None:
        """Open the model that `choose` returns, and close the previous one. If that fails, keep the previous.

        A model on this machine is closed first, because two may not fit in memory, and reloaded on failure.
        """
        before, was_local = session.engine, self.choice.server is None
        try:
            if was_local:
                before.close()
            choice = choose()
            session.engine = self._open(choice, session)
        except BaseException:
            if was_local:
                session.engine = self._reopen(session)
            raise
        self.choice = choice
        session.recorder.set_model(choice.precision, choice.server_argument)
        if not was_local:
            before.close()

    def _open(self, choice: ModelChoice, session: Session) -> Engine:
        return BackgroundEngine.around(
            open_engine(self.runtime, choice, notify_later=session.warnings.append)
        )

    def _reopen(self, session: Session) -> Engine:
        """Reload the previous model. Ctrl-C only restarts the load, because a chat needs an engine."""
        while True:
            try:
                return self._open(self.choice, session)
            except KeyboardInterrupt:
                continue
