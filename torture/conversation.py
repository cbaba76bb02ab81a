"""One conversation with the program, line by line, and what must have come of it whatever failed beneath.

What the person has seen is acknowledged: once an answer has begun, its question must be on the disk; once it
has ended, the whole of it. After the notice that nothing more is kept, nothing is acknowledged any more.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from torture import child, look

LINES = b"one\ntwo\n/regen\n/undo\nthree\n"
ANSWERS = ("1: Uno.", "2: Due.", "3: Again.", "4: Tre.")
ASKED = ("one", "two", "two", "three")
"""Whose answers they are."""
EARLIER: set[look.Key] = {("user", "complete", "earlier"), ("assistant", "complete", "0: Earlier.")}
"""What a home holds in which a conversation was held before."""
REMARKS = re.compile(
    r"^(\(going on behind \d+ messages?\)|\(\d of \d\)|1 turn undone; /tree shows where they are\.)\n",
    re.MULTILINE,
)
TOLD = re.compile(
    r"(?:from here on nothing is kept|nothing of this conversation is kept): [^\n]*\n(?:  [^\n]*\n)?"
)
REMARKED = re.compile(r"^\(the other answers cannot be read: [^\n]*\)\n", re.MULTILINE)
"""What is told of a fault that ends nothing: the keeping goes on."""
REFUSED = re.compile(r"^hermes: [^\n]*(full|fails|cannot|damaged|conversations)", re.MULTILINE)
OUTCOMES = ("told", "refused", "harmless", "silent loss")


def judge(
    ended: child.Ended, file: Path, earlier: set[look.Key], answers: Sequence[str] = ANSWERS
) -> tuple[str, list[str]]:
    """Return what came of a conversation, of OUTCOMES, and what is wrong with that.

    `earlier` is what was in the database before it.
    """
    text, remarked = REMARKED.subn("", REMARKS.sub("", ended.said))
    whole = "".join(f"{answer}\n" for answer in answers)
    notices = TOLD.findall(text)
    wrong = look.damage(file) if file.exists() else []
    if REFUSED.search(text):
        outcome, before = "refused", text.partition("hermes: ")[0]
        wrong += [] if ended.code else ["refused, with exit code 0"]
    else:
        outcome, before = "told" if notices or remarked else "harmless", TOLD.split(text)[0]
        wrong += [] if TOLD.sub("", text) == whole else ["not every answer came, or more than that"]
        wrong += [] if ended.code == 0 else [f"exit code {ended.code}"]
    wrong += ["told more than once"] if len(notices) > 1 else []
    wrong += ["a traceback"] if "Traceback" in text or "mistake in hermes" in text else []
    wanted = earlier | acknowledged(before, answers)
    lost = look.not_once(file, wanted) if file.exists() else ["there is no database"] * bool(wanted)
    return "silent loss" if lost and outcome == "harmless" else outcome, wrong + lost


def acknowledged(said: str, answers: Sequence[str] = ANSWERS) -> set[look.Key]:
    """Return the messages that must be there once so much of the answers was shown."""
    wanted: set[look.Key] = set()
    place = 0
    for asked, answer in zip(ASKED, answers, strict=True):
        if len(said) > place:
            wanted.add(("user", "complete", asked))
        place += len(answer) + 1
        if len(said) >= place:
            wanted.add(("assistant", "complete", answer))
    return wanted
