"""Tests of summarizing turns: the prompts to the model, and the summary made of its answers."""

from collections.abc import Iterator, Sequence

from hermes_cli.chat.prompt_settings import Summary
from hermes_cli.chat.summarize import LEAD, summarize
from hermes_cli.engines.base import Cancel, Chunk
from hermes_cli.engines.scripted import ScriptedEngine, ScriptedTurn
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from hermes_cli.personas.macros import Macros


class Recording(ScriptedEngine):
    """Record the messages and the options of every question."""

    def __init__(self, turns: Sequence[ScriptedTurn | str], context_size: int) -> None:
        super().__init__(turns, context_size)
        self.prompts = list[Sequence[Message]]()
        self.options = list[GenerationOptions]()

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        self.prompts.append(messages)
        self.options.append(options)
        return super().stream(messages, options, cancel)


TURNS = (Message(Role.USER, "Hello."), Message(Role.ASSISTANT, "Welcome."), Message(Role.USER, "x" * 200))


def summarized(
    *answers: ScriptedTurn | str,
    earlier: Summary | None = None,
    window: int = 4096,
    cancel: Cancel | None = None,
) -> tuple[str | None, list[str]]:
    """Return the summary, and the user's text in every prompt."""
    engine = Recording(answers, window)
    options = GenerationOptions(stop=("W",), max_tokens=1)
    text = summarize(
        engine, TURNS, earlier, macros=Macros("Sera", "Ann"), options=options, cancel=cancel or Cancel()
    )
    texts = [
        [message.text for message in messages if message.role is Role.USER] for messages in engine.prompts
    ]
    return text, [text for (text,) in texts]


def test_the_prompt_names_the_speaker_of_each_turn() -> None:
    """The prompt names the speaker of each turn, and the summary begins with the lead."""
    text, prompts = summarized("They met. Well met.")
    assert text == f"{LEAD}They met. Well met."
    assert prompts == [f"Ann: Hello.\n\nSera: Welcome.\n\nAnn: {'x' * 200}\n\nCondense this."]


def test_the_options_of_the_chat_are_not_used_for_a_summary() -> None:
    """The chat's stop strings, bans, temperature and max_tokens are not used for a summary."""
    engine = Recording(["They met."], 4096)
    options = GenerationOptions(stop=("W",), ban=("met",), temperature=1.5, max_tokens=1)
    summarize(engine, TURNS, None, macros=Macros("Sera", "Ann"), options=options, cancel=Cancel())
    (used,) = engine.options
    assert (used.stop, used.ban, used.temperature, used.max_tokens) == ((), (), 0.0, 256)


def test_the_prompt_begins_with_the_earlier_summary() -> None:
    """The prompt begins with the earlier summary, without its lead."""
    text, prompts = summarized("All of it.", earlier=Summary(TURNS[:1], f"{LEAD}The beginning."))
    assert text == f"{LEAD}All of it."
    assert prompts[0].startswith("What was condensed before:\nThe beginning.\n\nAnn: Hello.")


def test_turns_that_do_not_fit_are_summarized_in_several_prompts() -> None:
    """Turns that do not fit into one prompt are summarized in several, each with the summary so far."""
    text, prompts = summarized("One.", "Two.", window=600)
    assert text == f"{LEAD}Two."
    assert [part.split("\n\n")[0] for part in prompts] == ["Ann: Hello.", "What was condensed before:\nOne."]
    assert prompts[1].endswith(f"Ann: {'x' * 200}\n\nCondense this.")


def test_a_truncated_summary_ends_with_a_sentence() -> None:
    """A summary that reached max_tokens is cut after its last sentence, if it has one."""
    text, _ = summarized('He said "Go!" They we' + "nt on and" * 100)
    assert text == f'{LEAD}He said "Go!"'
    assert summarized("no end " * 100)[0] == LEAD + ("no end " * 100)[:256].strip()


def test_a_cancel_returns_no_summary() -> None:
    """A cancel returns no summary, and an empty answer returns the earlier summary."""
    cancel = Cancel()
    cancel.set()
    assert summarized("They met.", cancel=cancel)[0] is None
    assert summarized("  ", earlier=Summary(TURNS[:1], f"{LEAD}Kept."))[0] == f"{LEAD}Kept."


def test_a_turn_that_fits_into_no_prompt_is_left_out() -> None:
    """A turn that fits into no prompt is left out of the summary."""
    text, prompts = summarized("They met.", window=460)
    assert text == f"{LEAD}They met."
    assert [part.count("x" * 200) for part in prompts] == [0]
    assert summarized(window=300)[0] == ""
