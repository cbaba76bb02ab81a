"""Builds the prompts of a session, and summarizes or reports what does not fit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import Overflow, Summary
from hermes_cli.chat.turn_macros import idle_seconds, report_unknown
from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.messages import Message
from hermes_cli.tree import Tree
from hermes_cli.untrusted.deadline import Deadline

if TYPE_CHECKING:  # most are imported with the first prompt, after the user has typed a message
    from hermes_cli.chat.prompt import PartKind, Prompt
    from hermes_cli.chat.prompt_builder import PromptBuilder
    from hermes_cli.chat.session import Session


class _Counter:
    """Counts tokens with the engine of a session. Setting `cancel` ends a count, with RequestCancelled."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.cancel = Cancel()

    @property
    def context_size(self) -> int:
        """The context window of the engine in tokens."""
        return self._session.engine.context_size

    @property
    def max_context_size(self) -> int:
        """The longest context window of the engine in tokens."""
        return self._session.engine.max_context_size

    def count_tokens(self, messages: Sequence[Message], limit: int | None = None) -> int:
        """Return the number of tokens of the prompt for these messages; see Engine.count_tokens."""
        return self._session.engine.count_tokens(messages, limit, self.cancel)


class SessionPrompt:
    """The prompts of a session. `files` are the names of the files in the last turn, for a hint."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.files: tuple[str, ...] = ()
        self._counter = _Counter(session)
        self._builders = dict[int, tuple[tuple[object, ...], "PromptBuilder"]]()
        self._reported: tuple[Tree, set[PartKind]] = session.tree, set()

    def assembled(self, turns: Sequence[Message], speaker: int, cancel: Cancel | None = None) -> "Prompt":
        """Return the prompt for the answer of a member. It may exceed the context window.

        Raises RequestCancelled if `cancel` is set while a server counts tokens.
        """
        self._counter.cancel = cancel or Cancel()
        return self._assembled(turns, speaker, self._session.next_deadline())

    def _assembled(self, turns: Sequence[Message], speaker: int, deadline: Deadline) -> "Prompt":
        prompt = self._builder(speaker, self.summary_of(turns), deadline).prompt(turns, deadline)
        if prompt.tokens >= prompt.window and self._session.engine.estimates_tokens:
            # The estimate has grown since the builder selected the turns: select them again.
            del self._builders[speaker]
            prompt = self._builder(speaker, self.summary_of(turns), deadline).prompt(turns, deadline)
        return prompt

    def _builder(self, speaker: int, summary: Summary | None, deadline: Deadline) -> "PromptBuilder":
        from hermes_cli.chat.prompt_builder import PromptBuilder

        session, member = self._session, self._session.members[speaker]
        settings = member.prompt_settings
        max_tokens = session.options.options.max_tokens
        inputs = (member.opening, settings, max_tokens, summary)
        key = (session.engine, *inputs)
        settings.macros.state.idle_s = idle_seconds(session.tree.path)
        found = self._builders.get(speaker)
        if found is None or found[0] != key or found[1].window != session.engine.context_size:
            found = self._builders[speaker] = key, PromptBuilder(self._counter, *inputs, deadline=deadline)
        if session.engine.estimates_tokens:
            found[1].recount()
        return found[1]

    def lore_problems(self) -> dict[str, str]:
        """Return the lorebook keys that have been disabled so far, each with the reason."""
        return {
            key: why for _, built in self._builders.values() for key, why in built.lore.disabled_keys.items()
        }

    def summary_of(self, turns: Sequence[Message]) -> Summary | None:
        """Return the latest summary that covers the beginning of these turns, but not all of them."""
        for summary in reversed(self._session.summaries):
            if len(turns) > summary.covers and tuple(turns[: summary.covers]) == summary.turns:
                return summary
        return None

    def fitted(self, turns: Sequence[Message], speaker: int, cancel: Cancel) -> "Prompt | None":
        """Return the prompt. With Overflow.SUMMARISE, turns that do not fit are summarized first.

        Return None if this was cancelled. Raises ContextOverflow if the prompt exceeds the window.
        """
        self._counter.cancel = cancel
        try:
            return self._fitted(turns, speaker)
        except RequestCancelled:
            return None

    def _fitted(self, turns: Sequence[Message], speaker: int) -> "Prompt | None":
        session = self._session
        member, deadline = session.members[speaker], session.next_deadline()
        prompt, summary = self._assembled(turns, speaker, deadline), self.summary_of(turns)
        covered = summary.covers if summary else 0
        if member.prompt_settings.overflow is Overflow.SUMMARISE and prompt.first > covered:
            if not self._summarize(turns, prompt.first, summary, member):
                return None
            prompt = self._assembled(turns, speaker, deadline)
        self._report_left_out(prompt, member)
        if dict(session.recorder.saved_variables) != member.prompt_settings.macros.state.variables:
            session.save_settings()
        if prompt.skipped:
            session.remarks.append(prompt.skipped)
        if prompt.tokens >= prompt.window:
            from hermes_cli.chat.overflow import overflow_error

            opening, settings = member.opening, member.prompt_settings
            raise overflow_error(
                prompt, turns, self._counter, opening=opening, settings=settings, files=self.files
            )
        return prompt

    def _summarize(
        self, turns: Sequence[Message], first: int, earlier: Summary | None, member: Member
    ) -> bool:
        """Replace the turns before `first` by a summary. Return False if it was cancelled."""
        from hermes_cli.chat.summarize import summarize

        session = self._session
        text = summarize(
            session.engine,
            turns[earlier.covers if earlier else 0 : first],
            earlier,
            macros=member.prompt_settings.macros,
            options=session.options.options,
            cancel=self._counter.cancel,
        )
        if text is None:
            return False
        through = session.tree.sent_path[first - 1].id
        session.set_summaries((*session.summaries, Summary(tuple(turns[:first]), text, through)))
        count = "message" if first == 1 else f"{first:,} messages"
        if text:
            session.remarks.append(f"Summarized the first {count}; /summary shows the summary:\n{text}")
        else:
            session.warnings.append(f"Left out the first {count}: too long to summarize")
        return True

    def _report_left_out(self, prompt: "Prompt", member: Member) -> None:
        """Add a warning about each kind of part that is left out, and a remark about unknown macros.

        A warning is added once in a conversation.
        """
        from hermes_cli.chat.overflow import left_out_remarks

        tree = self._session.tree
        reported = self._reported[1] if self._reported[0] is tree else set()
        new = [part for part in prompt.left_out if part.kind not in reported]
        self._reported = tree, reported | {part.kind for part in new}
        state = member.prompt_settings.macros.state
        self._session.remarks += report_unknown(state)
        self._session.warnings += left_out_remarks(new)
