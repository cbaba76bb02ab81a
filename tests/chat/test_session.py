"""Tests of the turns that a session keeps after an exchange, however it ends."""

import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from hermes_cli.chat.members import Member
from hermes_cli.chat.prompt_settings import PromptSettings, Summary
from hermes_cli.chat.recorder import Recorder
from hermes_cli.chat.session import Session
from hermes_cli.engines.background import BackgroundEngine
from hermes_cli.engines.base import Cancel, Chunk, FinishReason
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.errors import ContextOverflow, HermesError, UsageError
from hermes_cli.messages import Conversation, Message, Opening, Role, TurnIds
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.lorebook import Lorebook, LoreEntry
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import Note
from hermes_cli.store.store import Store
from hermes_cli.tree import MessageState
from hermes_cli.untrusted.deadline import Deadline
from tests.database import OpenStore

SYSTEM = Opening("Be brief.")
ALONE = Member(opening=SYSTEM)


def new_session(
    *turns: ScriptedTurn | str, context_size: int = 400, options: GenerationOptions | None = None
) -> Session:
    """Return a session with a script."""
    engine = ScriptedEngine(turns, context_size)
    return Session(engine, [ALONE], LayeredOptions(options or GenerationOptions()))


def send(session: Session, text: str, prefill: str = "") -> str:
    """Send a turn and return the answer."""
    return "".join(chunk.text for chunk in session.send(text, Cancel(), prefill))


def turns_of(session: Session) -> list[tuple[str, str]]:
    """Return the turns after the system prompt."""
    return [(m.role.value, m.text) for m in session.conversation if m.role is not Role.SYSTEM]


def test_both_turns_are_kept() -> None:
    """The questions and the answers of two exchanges are kept in order."""
    session = new_session("One.", "Two.")
    assert (send(session, "1?"), send(session, "2?")) == ("One.", "Two.")
    assert turns_of(session) == [("user", "1?"), ("assistant", "One."), ("user", "2?"), ("assistant", "Two.")]


def test_a_fixed_seed_is_increased_by_the_number_of_earlier_answers() -> None:
    """Each answer records the seed that generated it. Another turn begins with the fixed seed again."""
    session = new_session("A", "B", "C", "D", options=GenerationOptions(seed=7))
    send(session, "Go")
    for _ in range(2):
        list(session.regenerate(Cancel()))
    send(session, "On")
    answers = [node for node in session.tree.nodes if node.role is Role.ASSISTANT]
    assert [(node.text, node.generation.options["seed"]) for node in answers] == [
        ("A", 7),
        ("B", 8),
        ("C", 9),
        ("D", 7),
    ]


def test_the_seed_of_another_answer_stays_in_its_range_and_may_be_random() -> None:
    """The largest seed is 2**32 - 2."""
    assert GenerationOptions(seed=2**32 - 2).for_attempt(2).seed == 1
    assert GenerationOptions().for_attempt(2).seed is None


def test_a_cancelled_answer_is_kept_up_to_the_cancel() -> None:
    """A cancelled answer is kept up to the cancel, with the finish reason CANCELLED."""
    session, cancel = new_session(ScriptedTurn("abcdef", forever=True)), Cancel()
    for chunk in session.send("Go", cancel):
        if chunk.text == "c":
            cancel.set()
    assert turns_of(session) == [("user", "Go"), ("assistant", "abc")]
    assert session.last is not None
    assert session.last.finish_reason is FinishReason.CANCELLED


def test_a_turn_cancelled_before_its_answer_is_removed() -> None:
    """A turn that is cancelled before its answer is removed."""
    session, cancel = new_session("Hello"), Cancel()
    cancel.set()
    list(session.send("Go", cancel))
    assert turns_of(session) == []


def test_an_answer_that_fails_midway_is_kept() -> None:
    """An answer that fails midway is kept up to the error, and the session can go on."""
    session = new_session(ScriptedTurn("So far", error="failed"), "Fine.")
    with pytest.raises(HermesError):
        send(session, "Go")
    assert turns_of(session) == [("user", "Go"), ("assistant", "So far")]
    assert send(session, "Again") == "Fine."


def test_an_answer_is_kept_if_its_iterator_is_closed_early() -> None:
    """If the iterator is closed early, the turn and the text so far are kept."""
    session = new_session("Hello")
    stream = session.send("Go", Cancel())
    assert next(stream).text == "H"
    stream.close()  # type: ignore[attr-defined]
    assert turns_of(session) == [("user", "Go"), ("assistant", "H")]


@pytest.mark.parametrize("prefill", ["", "Well, "])
def test_a_prompt_that_does_not_fit_changes_nothing(prefill: str) -> None:
    """A prompt that does not fit is refused, and the conversation is unchanged."""
    session = new_session("Fine.")
    with pytest.raises(ContextOverflow):
        send(session, "x" * 500, prefill)
    assert turns_of(session) == []
    assert send(session, "Go") == "Fine."


def test_a_prefill_is_part_of_the_answer() -> None:
    """A prefill is kept as the beginning of the answer."""
    session = new_session("world")
    assert send(session, "Go", "Hello ") == "world"
    assert turns_of(session)[-1] == ("assistant", "Hello world")


def test_clear_returns_to_the_opening() -> None:
    """`clear` returns to the opening."""
    session = new_session("One.")
    send(session, "1?")
    session.clear()
    assert session.conversation == SYSTEM.conversation()


def test_a_new_system_prompt_keeps_the_turns() -> None:
    """A new system prompt keeps the turns, and `clear` then returns to that system prompt."""
    session = new_session("One.")
    send(session, "1?")
    session.set_system("Be long.")
    assert session.conversation.system == "Be long."
    assert len(turns_of(session)) == 2
    session.set_system(None)
    session.clear()
    assert session.conversation == Conversation()


class PromptRecorder(ScriptedEngine):
    """Record the ids of every prompt."""

    def __init__(self, turns: Sequence[ScriptedTurn | str]) -> None:
        super().__init__(turns, 400)
        self.prompts: list[tuple[int, ...]] = []

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        self.prompts.append(tuple(token.id for token in self.prompt_tokens(messages)))
        return super().stream(messages, options, cancel)


KeptSession = Callable[..., tuple[Session, Store, PromptRecorder]]


@pytest.fixture
def kept_session(open_store: OpenStore) -> KeptSession:
    """Make a session with a script; return it, the store that keeps it, and its engine."""

    def make(*turns: ScriptedTurn | str) -> tuple[Session, Store, PromptRecorder]:
        store, engine = open_store(), PromptRecorder(turns)
        return Session(engine, [ALONE], LayeredOptions(), Recorder(store)), store, engine

    return make


def continue_answer(session: Session) -> str:
    """Continue the last answer and return the new text."""
    return "".join(chunk.text for chunk in session.continue_answer(Cancel()))


def stored_tree(store: Store) -> list[tuple[int | None, str, MessageState]]:
    """Return parent, text and state of every message, oldest first."""
    (conversation,) = store.conversations()
    return [(node.parent, node.text, node.state) for node in store.tree(conversation.id)]


def test_a_continued_answer_begins_with_its_recorded_ids(kept_session: KeptSession) -> None:
    """The prompt of a continued answer ends with that answer's recorded ids, and the new ids are added."""
    session, _, engine = kept_session("world", ".")
    made = TurnIds("scripted", (70, 71, 72))  # other ids than those that "Hello" is encoded to
    session.tree.append(Message(Role.USER, "Go"))
    session.tree.append(Message(Role.ASSISTANT, "Hello ", made))
    assert (continue_answer(session), continue_answer(session)) == ("world", ".")
    assert engine.prompts[0][-3:] == made.ids
    assert engine.prompts[1][-8:] == (*made.ids, *(ord(letter) + 2 for letter in "world"))
    assert turns_of(session) == [("user", "Go"), ("assistant", "Hello world.")]
    last = session.conversation.messages[-1].turn_ids
    assert last is not None
    assert last.ids == (*made.ids, *(ord(letter) + 2 for letter in "world."))


def test_a_continued_answer_is_a_sibling_of_the_shorter_one(kept_session: KeptSession) -> None:
    """A continued answer is stored as a sibling of the shorter one, and the conversation goes on from it."""
    session, store, _ = kept_session("One.", " Two.", "Yes.")
    send(session, "Go")
    assert continue_answer(session) == " Two."
    done = MessageState.COMPLETE
    assert stored_tree(store) == [(None, "Go", done), (1, "One.", done), (1, "One. Two.", done)]
    assert [node.id for node in session.tree.path] == [1, 3]
    send(session, "And?")
    assert [node.text for node in store.path(store.conversations()[0].leaf)] == [
        "Go",
        "One. Two.",
        "And?",
        "Yes.",
    ]


@pytest.mark.parametrize(
    "turn", [ScriptedTurn(""), ScriptedTurn("", error="failed"), ScriptedTurn("never", prefill=60)]
)
def test_a_continuation_without_text_changes_nothing(turn: ScriptedTurn, kept_session: KeptSession) -> None:
    """A continuation that is empty, fails or is cancelled changes neither the conversation nor the store."""
    session, store, _ = kept_session("One.", turn, "Two.")
    send(session, "Go")
    before, path = session.conversation, session.tree.path
    cancel = Cancel()
    if turn.text:
        cancel.set()
    try:
        list(session.continue_answer(cancel))
    except HermesError:
        assert turn.error
    assert session.conversation == before
    assert session.tree.path == path
    assert [text for _, text, _ in stored_tree(store)] == ["Go", "One."]
    send(session, "And?")
    assert turns_of(session)[1:] == [("assistant", "One."), ("user", "And?"), ("assistant", "Two.")]


def test_a_continuation_that_does_not_fit_changes_nothing(kept_session: KeptSession) -> None:
    """A continuation that does not fit into the window is refused and changes nothing."""
    session, store, _ = kept_session(ScriptedTurn("x", forever=True), "never")
    send(session, "Go")
    before = session.conversation
    with pytest.raises(ContextOverflow):
        continue_answer(session)
    assert session.conversation == before
    assert len(stored_tree(store)) == 2


def test_a_stopped_continuation_is_kept_up_to_the_stop(
    kept_session: KeptSession,
) -> None:
    """A continuation that is stopped is kept up to that point, on the screen and in the store."""
    session, store, _ = kept_session("One.", ScriptedTurn(" Two."))
    send(session, "Go")
    stream = session.continue_answer(Cancel())
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert turns_of(session)[-1] == ("assistant", "One. T")
    assert stored_tree(store)[1:] == [(1, "One.", MessageState.COMPLETE), (1, "One. T", MessageState.STOPPED)]


def test_only_an_answer_can_be_continued(kept_session: KeptSession) -> None:
    """Without an answer, or after a greeting or a user turn, continuing is refused with a UsageError."""
    session, _, _ = kept_session("never")
    with pytest.raises(UsageError, match="no answer here yet"):
        continue_answer(session)
    session.restart([Member(opening=SYSTEM._replace(greetings=("Welcome!",)))])
    with pytest.raises(UsageError, match="no answer here yet"):
        continue_answer(session)
    session.restart([ALONE])
    session.tree.append(Message(Role.USER, "unanswered"))
    with pytest.raises(UsageError, match="no answer here yet"):
        continue_answer(session)


def test_the_first_turn_shares_the_deadline_of_the_opening() -> None:
    """If the opening used up the time, the first turn searches no lore; the second turn does."""
    books = (Lorebook((LoreEntry("The dragon sleeps.", ("dragon",)),)),)
    session = Session(
        ScriptedEngine(["A", "B"]),
        [Member(opening=SYSTEM, prompt_settings=PromptSettings(books=books))],
        LayeredOptions(),
        deadline=Deadline(-1),
    )
    list(session.send("dragon", Cancel()))
    assert session.remarks == ["lorebook: not searched after -1 s"]
    list(session.send("dragon", Cancel()))
    assert len(session.remarks) == 1
    assert session.assembled().active


class PrefillRecorder(ScriptedEngine):
    """Record the texts of the messages of every prefill."""

    def __init__(self, turns: Sequence[ScriptedTurn | str]) -> None:
        super().__init__(turns, 400)
        self.prefilled: list[list[str]] = []

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        self.prefilled.append([message.text for message in messages])
        super().prefill(messages, cancel)


def test_the_next_prompt_is_prefilled_up_to_the_users_turn() -> None:
    """The system prompt and the turns are prefilled, and the next answer evaluates only the user's turn."""
    engine = PrefillRecorder(["One.", "Two."])
    session = Session(BackgroundEngine.around(engine), [ALONE], LayeredOptions())
    for text in ("1?", "2?"):
        session.prefill_ahead()
        assert session.engine._prefilling is not None  # type: ignore[attr-defined]
        session.engine._prefilling.join()  # type: ignore[attr-defined]
        send(session, text)
        assert session.last is not None
        # The texts of two turns and their roles, and four control tokens and line ends.
        expected = len(f"user\n{text}") + len("\nassistant\n") + 2
        assert session.last.usage.prefilled_tokens == expected
    assert engine.prefilled == [["Be brief."], ["Be brief.", "1?", "One."]]


def test_a_note_after_the_users_turn_is_not_prefilled() -> None:
    """Messages after the user's next turn depend on it, so they are left out."""
    engine = PrefillRecorder(["One."])
    settings = PromptSettings(post_history="Stay in character.", note=Note("It rains.", 1))
    session = Session(
        BackgroundEngine.around(engine), [Member(opening=SYSTEM, prompt_settings=settings)], LayeredOptions()
    )
    session.prefill_ahead()
    session.engine.close()
    assert engine.prefilled == [["Be brief.", "It rains."]]


def test_an_engine_without_a_thread_is_not_prefilled() -> None:
    """In a pipe, the engine is used directly, and `prefill_ahead` does nothing."""
    engine = PrefillRecorder(["One."])
    Session(engine, [ALONE], LayeredOptions()).prefill_ahead()
    assert engine.prefilled == []


def character_session(*answers: str) -> Session:
    """Return a session with a character, in which the user's turns have macros."""
    macros = Macros("Ed", "Ann", 7)
    settings = PromptSettings(macros, fills_turns=True)
    return Session(
        ScriptedEngine(answers, 2000), [Member(opening=SYSTEM, prompt_settings=settings)], LayeredOptions()
    )


def test_macros_in_the_users_turn_are_filled_in_once() -> None:
    """The turn is kept with the result of the dice, and a remark has it. A new turn rolls them again."""
    session = character_session("A", "B", "C")
    send(session, "I, {{user}}, roll {{roll:d999999}}.")
    sent = session.conversation.messages[1].text
    assert re.fullmatch(r"I, Ann, roll \d+\.", sent)
    assert session.remarks == [f"Filled in the macros: {sent}"]
    session.undo()
    send(session, "I, {{user}}, roll {{roll:d999999}}.")
    assert session.conversation.messages[1].text != sent
    list(session.edit(1, "{{lastCharMessage}}{{char}}", Cancel()))
    assert turns_of(session)[0] == ("user", "BEd")


def test_macros_in_the_turns_of_an_assistants_user_are_text() -> None:
    """Without a character, and in files, braces are ordinary text."""
    session = new_session("A")
    send(session, "{{user}} <user>")
    assert turns_of(session)[0] == ("user", "{{user}} <user>")
    session = character_session("A")
    list(session.send("{{user}}", Cancel(), files=["template.html"]))
    assert turns_of(session)[0] == ("user", "{{user}}")


def test_unknown_macros_are_reported_once() -> None:
    """The first turn reports the unknown macros of a character."""
    session = character_session("A", "B")
    send(session, "{{banned}} {{calc::1}}")
    send(session, "{{banned}}")
    assert session.remarks == ["Unknown macros are left in the text: {{banned}}, {{calc}}"]


def test_the_idle_duration_is_the_time_between_the_users_turns() -> None:
    """`{{idle_duration}}` in a lore entry is the time since the user's previous turn."""
    book = Lorebook((LoreEntry("{{idle_duration}}", ("now",)),))
    session = character_session()
    session.change_settings(books=(book,))
    session.tree.append(Message(Role.USER, "then"), created=1000.0)
    session.tree.append(Message(Role.USER, "now"), created=1000.0 + 3 * 86_400)
    assert [active.text for active in session.assembled().active] == ["3 days"]


class RecordingEngine(ScriptedEngine):
    """An engine that keeps the messages and the options of its last prompt."""

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        self.asked = [(m.role.value, m.text, m.is_open) for m in messages], options.stop
        return super().stream(messages, options, cancel)


def test_a_draft_continues_an_open_turn_of_the_user() -> None:
    """Nothing is kept. What follows the user's last turn in a prompt is left out, and {{char}} ends it."""
    engine = RecordingEngine(["One.", "Mine.\nEd: his"], 400)
    settings = PromptSettings(Macros("Ed", "Ann"), post_history="Be Ed.", note=Note("Rain.", 0))
    session = Session(
        engine,
        [Member(opening=SYSTEM, prompt_settings=settings)],
        LayeredOptions(GenerationOptions(stop=("#",))),
    )
    send(session, "1?")
    before = turns_of(session), len(session.tree), session.last
    assert "".join(chunk.text for chunk in session.draft_turn(Cancel())) == "Mine."
    assert (turns_of(session), len(session.tree), session.last) == before
    assert engine.asked == (
        [
            ("system", "Be brief.", False),
            ("user", "1?", False),
            ("assistant", "One.", False),
            ("user", "", True),
        ],
        ("#", "\nEd:"),
    )


def test_a_draft_needs_an_answer_to_the_last_turn() -> None:
    """Two turns of the user in a row are not a dialogue."""
    session = new_session(ScriptedTurn(error="failed"))
    with pytest.raises(HermesError):
        send(session, "1?")
    session.tree.append(Message(Role.USER, "1?"))
    with pytest.raises(UsageError, match="has no answer yet"):
        next(session.draft_turn(Cancel()))


def test_a_fork_keeps_the_place_of_a_summary() -> None:
    """The copy has swipes before it, so its ids differ from the number of turns that the summary covers."""
    session = new_session("A", "B", "C")
    send(session, "One")
    list(session.regenerate(Cancel()))
    send(session, "Two")
    turns = session.turns
    session.set_summaries((Summary(turns[:2], "They met.", session.tree.path[1].id),))
    session.fork("copy")
    (summary,) = session.summaries
    assert summary.through == session.tree.path[1].id
    assert [node.text for node in session.tree.path_to(summary.through)] == ["One", "B"]


def test_hiding_a_summarized_message_removes_the_summary() -> None:
    """A new summary does not have it; other summaries stay."""
    session = new_session("A", "B", "C")
    for text in ("One", "Two", "Three"):
        send(session, text)
    turns, path = session.turns, session.tree.path
    short, long = (Summary(turns[:count], "They met.", path[count - 1].id) for count in (2, 4))
    session.set_summaries((short, long))
    session.hide(path[4].id)
    assert list(session.summaries) == [short, long]
    session.hide(path[3].id)
    assert list(session.summaries) == [short]
