"""One conversation with the program, line by line, and the checks of its result after a fault.

Everything that the user has seen is acknowledged: when an answer has begun, its question must be on the disk;
when it has ended, the whole answer. After the notice that nothing more is saved, nothing is acknowledged.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from torture import child, look

LINES = b"one\ntwo\n/regen\n/undo\nthree\n"
ANSWERS = ("1: Uno.", "2: Due.", "3: Again.", "4: Tre.")
ASKED = ("one", "two", "two", "three")
"""The question of each answer."""
EARLIER: set[look.Key] = {("user", "complete", "earlier"), ("assistant", "complete", "0: Earlier.")}
"""The messages in a home that already has a conversation."""
REMARKS = re.compile(
    r"^(\(continuing after \d+ messages?\)|\(\d of \d\)|1 turn undone; /tree shows where they are\.)\n",
    re.MULTILINE,
)
TOLD = re.compile(r"(?:saving stopped|this conversation is not saved): [^\n]*\n(?:  [^\n]*\n)?")
REMARKED = re.compile(r"^\(the other answers cannot be read: [^\n]*\)\n", re.MULTILINE)
"""The notice about a fault after which saving continues."""
REFUSED = re.compile(r"^hermes: [^\n]*(full|fails|cannot|damaged|conversations)", re.MULTILINE)
OUTCOMES = ("told", "refused", "harmless", "silent loss")


def judge(
    ended: child.Ended, file: Path, earlier: set[look.Key], answers: Sequence[str] = ANSWERS
) -> tuple[str, list[str]]:
    """Return the outcome of a conversation, one of OUTCOMES, and the errors in it.

    `earlier` has the messages that were in the database before.
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
    """Return the messages that must be in the database after the output `said` was shown."""
    wanted: set[look.Key] = set()
    place = 0
    for asked, answer in zip(ASKED, answers, strict=True):
        if len(said) > place:
            wanted.add(("user", "complete", asked))
        place += len(answer) + 1
        if len(said) >= place:
            wanted.add(("assistant", "complete", answer))
    return wanted
