"""The state of a session: its characters, its tree and its settings, and changes that need no model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hermes_cli.chat.members import Member, answering, named, next_after, together
from hermes_cli.chat.prompt_settings import PromptSettings, Summary
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.regex_scripts import Stage
from hermes_cli.chat.saved_settings import from_saved, restored, to_saved
from hermes_cli.chat.turn_macros import fill_turn
from hermes_cli.chat.turn_scripts import answer_rewriter
from hermes_cli.errors import UsageError
from hermes_cli.messages import Conversation, Message, Opening, Role
from hermes_cli.personas.regex_script import Target
from hermes_cli.store.records import StoredConversation
from hermes_cli.tree import Node, Tree
from hermes_cli.untrusted.deadline import Deadline


class SessionState:
    """The state of a session.

    `tree` holds the messages and the cursor, which determine the visible conversation. `members` are the
    characters that answer, each with an opening before the tree and prompt settings; most conversations have
    one. `waiting` are the indices of those who answer the user's last turn after the current answer.
    `summaries` replace the oldest turns; each covers more turns than the one before. `remarks` are messages
    for the user about changed text and summaries, and `warnings` about parts of the prompt that were left
    out. `recorder` saves the tree. `deadline` is that of the opening, which the first prompt shares.
    """

    def __init__(
        self, members: Sequence[Member], recorder: Recorder | None = None, deadline: Deadline | None = None
    ) -> None:
        self.recorder = recorder or Recorder()
        self.remarks: list[str] = []
        self.warnings: list[str] = []
        self.tree: Tree
        self.members: tuple[Member, ...]
        self.waiting: list[int]
        self.summaries: tuple[Summary, ...]
        self.deadline: Deadline
        self._conversation: tuple[tuple[object, ...], Conversation] | None = None
        self.restart(members, deadline)

    def next_deadline(self) -> Deadline:
        """Return the deadline of the next prompt: that of the opening, or a new one."""
        deadline, self.deadline = self.deadline, Deadline()
        return deadline

    @property
    def next_speaker(self) -> int:
        """The index of the member who speaks next: one that was mentioned, or the one after the last."""
        if self.waiting:
            return self.waiting[0]
        return next_after(self._last_speaker(self.tree.path), len(self.members))

    def _last_speaker(self, path: Sequence[Node]) -> int | None:
        """Return the index of the member who spoke last, or None before the first answer."""
        answers = (node for node in reversed(path) if node.role is Role.ASSISTANT)
        last = None if self.tree.is_at_greeting else next(answers, None)
        return None if last is None else self.speaker_of(last)

    def speaker_of(self, answer: Node) -> int:
        """Return the index of the member who gave an answer, or 0 if it is no longer a member."""
        names = [member.name for member in self.members]
        return names.index(answer.speaker) if answer.speaker in names else 0

    def has_left(self, answer: Node) -> bool:
        """Return whether the character who gave an answer is no longer in the group."""
        names = [member.name for member in self.members]
        return len(names) > 1 and bool(answer.speaker) and answer.speaker not in names

    @property
    def member(self) -> Member:
        """The member who speaks next. Its parts of the prompt are shown."""
        return self.members[self.next_speaker]

    @property
    def speaking(self) -> str:
        """The name of the member who speaks now or next, or "" if there is only one."""
        return self.member.name if len(self.members) > 1 else ""

    @property
    def opening(self) -> Opening:
        """The opening of the member who speaks next."""
        return self.member.opening

    @property
    def prompt_settings(self) -> PromptSettings:
        """The prompt settings of the member who speaks next."""
        return self.member.prompt_settings

    @property
    def conversation(self) -> Conversation:
        """The opening and the visible turns. The same object is returned until one of them changes."""
        member = self.member
        inputs = (self.tree.path, member.opening, member.prompt_settings, self.members)
        cached = self._conversation
        if cached is None or any(old is not new for old, new in zip(cached[0], inputs, strict=True)):
            turns = (named(node.message, self.members) for node in self.tree.sent_path)
            conversation = Conversation((*member.opening.before, *turns))
            cached = self._conversation = inputs, conversation
        return cached[1]

    @property
    def turns(self) -> tuple[Message, ...]:
        """The visible turns that prompts include, without the opening."""
        return self.conversation.messages[len(self.opening.before) :]

    def _new_message(self, role: Role, text: str, speaker: int = 0) -> Message:
        """Return a message that is not in the tree yet. It has a speaker if the conversation has several."""
        macros = self.members[speaker].prompt_settings.macros
        name = macros.user if role is Role.USER else macros.char
        message = Message(role, text, speaker=name if len(self.members) > 1 else "")
        return named(message, self.members, speaker)

    # Messages

    def _answering(self, text: str) -> list[int]:
        """Return the indices of the members who answer the user's text."""
        return answering(text, [member.name for member in self.members], self._last_speaker(self.tree.path))

    def filled(self, text: str, stage: Stage | None = None) -> str:
        """Return the user's text after the regex scripts for `stage`, with its macros expanded.

        Add a remark if this changes it.
        """
        settings = self.prompt_settings
        stage = stage if stage and settings.scripts.select(Target.USER, stage) else None
        filled = fill_turn(text, settings, len(self.tree), self.turns, self.deadline, stage=stage)
        if filled != text:
            what = "Filled in the macros" if stage is None else "Sent as"
            self.remarks.append(f"{what}: {filled}")
        return filled

    def replace_answer(self, text: str) -> None:
        """Replace the model's last answer with the user's text. The old answer stays in the tree.

        Raises UsageError if there is no answer.
        """
        answer = self.require_answer()
        text = self._edited_answer(text, answer)
        self.tree.move_to(answer.parent)
        self.tree.append(Message(Role.ASSISTANT, text, speaker=answer.speaker), created=time.time())
        self.recorder.save()

    def _edited_answer(self, text: str, answer: Node) -> str:
        settings = self.members[self.speaker_of(answer)].prompt_settings
        rewrite = answer_rewriter(settings, len(self.tree.path), Stage.EDIT)
        return rewrite(text) if rewrite else text

    def require_answer(self) -> Node:
        """Return the last answer. Raises UsageError if the last turn is not an answer to the user."""
        path = self.tree.path
        if not path or path[-1].role is not Role.ASSISTANT or self.tree.is_at_greeting:
            raise UsageError("there is no answer here yet", "send a message first")
        return path[-1]

    def _require_visible(self, turn: Node | None) -> None:
        """Raise UsageError if the turn that an answer follows is hidden from the model."""
        while turn is not None and turn.is_hidden and turn.role is not Role.USER:  # an imported comment
            turn = self.tree.node(turn.parent or 0)
        if turn is not None and turn.is_hidden:
            raise UsageError("the turn that this answers is hidden", f"/hide {turn.id} shows it to the model")

    def set_summaries(self, summaries: tuple[Summary, ...]) -> None:
        """Replace the summaries of the oldest turns, and save them."""
        self.summaries = summaries
        self.save_settings()

    def set_members(self, members: Sequence[Member]) -> None:
        """Replace the members or their prompt settings, for example the lorebooks, and save them."""
        self.members = tuple(members)
        self.save_settings()

    def change_settings(self, **changes: Any) -> None:
        """Change fields of the prompt settings of all members, for example the note, and save them."""
        self.set_members([member.with_settings(**changes) for member in self.members])

    def save_settings(self) -> None:
        """Save the settings of the conversation: the user's name, seed, note and summaries."""
        self.recorder.change_settings(to_saved(self.members, self.summaries))

    # Moves in the tree. No move deletes a message; an impossible move raises UsageError.

    def undo(self, count: int = 1) -> None:
        """Hide the user's last `count` turns and their answers."""
        self._move(lambda tree: tree.undo(count))

    def swipe(self, index: int) -> None:
        """Show another alternative of the last answer or greeting."""
        self._move(lambda tree: tree.swipe(index))

    def goto(self, number: int) -> None:
        """Show the path to a message; for one of the user's turns, the path to its newest answer."""
        self._move(lambda tree: tree.goto(number))

    def branch(self, number: int, text: str | None) -> None:
        """Continue on a new branch in which a visible message has another text, or None to leave it out."""
        node = self.tree.require(number)
        if text is not None:
            is_answer = node.role is Role.ASSISTANT
            text = self._edited_answer(text, node) if is_answer else self.filled(text, Stage.EDIT)
        self._move(lambda tree: tree.branch(number, text, time.time()))

    def hide(self, number: int) -> bool:
        """Leave a message out of prompts, or include it again. Return whether it is now hidden.

        Remove the summaries of turns that include the message.
        """
        node = self.tree.hide(number)
        self.recorder.hide(node)
        paths = ((summary, self.tree.path_to(summary.through)) for summary in self.summaries)
        kept = tuple(summary for summary, path in paths if node not in path)
        if kept != self.summaries:
            self.set_summaries(kept)
        return node.is_hidden

    def _move(self, move: Callable[[Tree], None]) -> None:
        move(self.tree)
        self.recorder.move()

    # Conversations

    def clear(self) -> None:
        """Start a new conversation with the same members, without the user's note."""
        self.restart([member.with_settings(note=None) for member in self.members])

    def restart(self, members: Sequence[Member], deadline: Deadline | None = None) -> None:
        """Start a new conversation with other members. `deadline` is that of their openings."""
        tree = Tree()
        for member in members:
            speaker = member.name if len(members) > 1 else ""
            tree.greet(Message(Role.ASSISTANT, text, speaker=speaker) for text in member.opening.greetings)
        self._begin(members, tree, deadline=deadline)

    def fork(self, title: str) -> None:
        """Continue in a copy of the visible messages and their swipes. Raises UsageError if none exist."""
        if self.tree.cursor is None or self.tree.is_at_greeting:
            raise UsageError("there is nothing to copy yet", "send a message first")
        turns, tree = self.turns, self.tree.fork()
        summaries = tuple(
            summary._replace(through=tree.sent_path[summary.covers - 1].id)
            for summary in self.summaries
            if turns[: summary.covers] == summary.turns
        )
        self._begin(self.members, tree, summaries, title)
        self.recorder.save()

    def _begin(
        self,
        members: Sequence[Member],
        tree: Tree,
        summaries: tuple[Summary, ...] = (),
        title: str = "",
        deadline: Deadline | None = None,
    ) -> None:
        self.members, self.tree, self.summaries, self.waiting = tuple(members), tree, summaries, []
        self.deadline = deadline or Deadline()
        self.recorder.persona = self.members[0].persona.key
        self.recorder.begin(tree, self.members[0].opening, title)
        self.save_settings()

    def resume(self, stored: StoredConversation, members: Sequence[Member] = ()) -> None:
        """Continue a stored conversation. `members` are opened from its personas; by default, they stay.

        Raises StoreError.
        """
        tree, saved = self.recorder.resume(stored)
        self.recorder.persona = stored.persona
        greetings = tuple(node.text for node in tree.children(None) if node.role is Role.ASSISTANT)
        first = Opening.behind(stored.opening, greetings)._replace(character_at=saved.character_at)
        self.tree, self.waiting = tree, []
        self.members = from_saved(stored, saved, first, members or self.members)
        paths = ((through, text, tree.path_to(through)) for through, text in saved.summaries)
        self.summaries = tuple(
            Summary(
                tuple(named(node.message, self.members) for node in path if not node.is_hidden), text, through
            )
            for through, text, path in paths
            if path
        )
        self.save_settings()

    def stop_saving(self) -> int:
        """Save only in memory from now on; return the number of messages that remain on disk."""
        self.members = tuple(
            replace(member, opening=member.opening._replace(cacheable=False)) for member in self.members
        )
        return self.recorder.move_to_memory()

    def set_system(self, text: str | None) -> None:
        """Change the system prompt of later prompts; the turns are unchanged."""
        changes: dict[str, Any] = {"system": text, "cacheable": False, "character_at": len(text or "")}
        self.set_openings([member.opening._replace(**changes) for member in self.members])

    def set_openings(self, openings: Sequence[Opening]) -> None:
        """Change the system prompts and the examples of later prompts, and the greetings of later chats."""
        members = zip(self.members, openings, strict=True)
        self.members = tuple(replace(member, opening=opening) for member, opening in members)
        self.recorder.change_opening(self.members[0].opening)
        self.save_settings()

    def add_member(self, new: Member) -> None:
        """Add a character. It greets before the user's first turn.

        The note, the user's name and the other settings of the conversation apply to it too.
        """
        greets = all(node.role is Role.ASSISTANT for node in self.tree.path)
        saved = to_saved(self.members, self.summaries)
        state = self.members[0].prompt_settings.macros.state
        self.change_personas(together([*self.members, restored(saved, state, new, new.opening)]))
        if greets:
            self.tree.greet(Message(Role.ASSISTANT, text, speaker=new.name) for text in new.opening.greetings)
            self._move(lambda _tree: None)

    def change_personas(self, members: Sequence[Member]) -> None:
        """Replace the members by others; the turns are unchanged."""
        self.members, self.waiting = tuple(members), []
        self.recorder.change_persona(self.members[0].persona.key, self.members[0].opening)
        self.save_settings()
