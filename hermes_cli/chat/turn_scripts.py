"""Applies regex scripts to the turns of a conversation: as they are added, displayed and sent."""

from collections.abc import Sequence
from typing import Protocol

from hermes_cli.chat.prompt_settings import PromptSettings
from hermes_cli.chat.regex_scripts import Stage, depth_of_answer, target_of
from hermes_cli.messages import Message, Opening
from hermes_cli.personas.regex_script import Target
from hermes_cli.untrusted.deadline import Deadline

STEP = 40
"""Characters of a growing answer between two runs of the scripts, which read the whole answer."""


class Rewrite(Protocol):
    """Runs regex scripts on the text of an answer."""

    def __call__(self, text: str, *, is_complete: bool = True) -> str:
        """Return the text after the scripts. If it is not complete, leave out what more text can change."""


def answer_rewriter(
    settings: PromptSettings, moment: int, *stages: Stage, growing: Deadline | None = None
) -> Rewrite | None:
    """Return a function that runs the scripts on the last answer, or None if they do not change answers.

    `moment` is the number of messages before the answer. `growing` limits the work until it is complete.
    """
    scripts, growing = settings.scripts, growing or Deadline()
    if not scripts.changes_answers(*stages):
        return None

    def rewrite(text: str, *, is_complete: bool = True) -> str:
        limit = Deadline() if is_complete else growing
        selected = (scripts.select(Target.ANSWER, stage, depth_of_answer(stage)) for stage in stages)
        numbers = [number for some in selected for number in some]
        result = scripts.run(
            text, numbers, settings.macros, moment=moment, deadline=limit, is_complete=is_complete
        )
        return "" if limit.is_over and not is_complete else result  # displayed when it is complete

    return rewrite


def displayed(settings: PromptSettings, messages: Sequence[Message], index: int) -> str:
    """Return the text of one of the visible messages as it is displayed."""
    index %= len(messages)
    message, scripts = messages[index], settings.scripts
    numbers = scripts.select(target_of(message.role), Stage.DISPLAY, len(messages) - 1 - index)
    return (
        scripts.run(message.text, numbers, settings.macros, moment=index, turns=messages[: index + 1])
        if numbers
        else message.text
    )


def with_scripts(opening: Opening, settings: PromptSettings, deadline: Deadline | None = None) -> Opening:
    """Return an opening whose greetings are changed as an answer is when it is added."""
    scripts = settings.scripts
    numbers = scripts.select(Target.ANSWER, Stage.ADD)
    if not numbers:
        return opening
    texts = (scripts.run(text, numbers, settings.macros, deadline=deadline) for text in opening.greetings)
    return opening._replace(greetings=tuple(texts))


class GrowingText:
    """The text of an answer after the scripts, while the answer grows.

    Text is returned when it is settled, so that text which is displayed rarely changes afterwards. If
    `is_final` is true, all text is returned at the end, because it cannot be displayed anew.
    """

    def __init__(self, rewrite: Rewrite, *, is_final: bool = False) -> None:
        self._rewrite = rewrite
        self._is_final = is_final
        self._received = ""
        self._read = 0
        self._returned = ""

    def add(self, piece: str) -> str:
        """Add a piece of the answer, and return the next settled text, which may be empty."""
        self._received += piece
        if self._is_final or (len(self._received) - self._read < STEP and "\n" not in piece):
            return ""
        self._read = len(self._received)
        text = self._rewrite(self._received, is_complete=False)
        if not text.startswith(self._returned):  # `end` returns the text anew
            return ""
        new = text[len(self._returned) :]
        self._returned = text
        return new

    def end(self) -> tuple[str, bool]:
        """Return the rest of the text. If returned text has changed, return the whole text, and true."""
        text = self._rewrite(self._received)
        if text.startswith(self._returned):
            return text[len(self._returned) :], False
        return text, True
