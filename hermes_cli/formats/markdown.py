"""The Markdown format: a heading for each turn, followed by its unchanged text.

An HTML comment such as `<!-- hermes {"role": "user"} -->` precedes each heading, and the first line of the
file is a comment with the title. When a file is read, only these comments separate the turns; the text
between them may be edited. If a message contains such a comment, all comments of the file are named
`hermes-2` (or `hermes-3`, and so on), so that no message can forge a turn.
"""

import re
from collections.abc import Sequence
from typing import Final

from hermes_cli.errors import FormatError
from hermes_cli.formats.dates import minute
from hermes_cli.formats.json_text import dump, parse
from hermes_cli.formats.transcript import Transcript, message, split, transcript
from hermes_cli.messages import Message, Role
from hermes_cli.store.records import LAST_TIME
from hermes_cli.tree import MessageState, Node
from hermes_cli.untrusted.value import Value

BEGIN: Final = "<!-- hermes"
END: Final = " -->"
_FIRST_LINE: Final = re.compile(r"<!-- (hermes(?:-[0-9]{1,9})?) ([^\n]*?)(\r?)(?:\n|\Z)")
_MARK: Final = re.compile(r"<!-- hermes(?:-([0-9]{1,9}))? ")
_HEADING: Final = re.compile(r"\n#{1,6} [^\n]*(?:\n\n?|\Z)|\n\n?")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")


def write(transcript: Transcript) -> str:
    """Return the visible path of a conversation as Markdown."""
    record = transcript.conversation
    mark = _mark([turn.text for turn in transcript.turns])
    metadata = {"title": record.title, "is_named": record.is_named, "persona": record.persona}
    head = f"{_comment(mark, metadata)}\n# {_line(record.title) or 'A conversation'}\n"
    opening = [message(0, None, turn) for turn in record.opening]
    return "\n".join(
        [head, *(_turn(mark, stored, record.persona) for stored in (*opening, *transcript.tree.path))]
    )


def _mark(texts: Sequence[str]) -> str:
    """Return the name of the comments: the first of hermes, hermes-2, … that no message contains."""
    taken = {int(number or 1) for text in texts for number in _MARK.findall(text)}
    number = next(number for number in range(1, len(taken) + 2) if number not in taken)
    return "hermes" if number == 1 else f"hermes-{number}"


def _comment(mark: str, value: object) -> str:
    escaped = dump(value).replace(">", "\\u003e")  # so that a value cannot end the comment
    return f"<!-- {mark} {escaped}{END}"


def _turn(mark: str, stored: Node, persona: str) -> str:
    names = {Role.USER: "You", Role.ASSISTANT: persona or "Assistant", Role.SYSTEM: "System"}
    state = "" if stored.state is MessageState.COMPLETE else str(stored.state)
    heading = [stored.speaker or names[stored.role], minute(stored.created), stored.generation.model, state]
    metadata: dict[str, object] = {"role": stored.role}
    metadata |= {"speaker": stored.speaker} if stored.speaker else {}
    metadata |= {"created": stored.created} if stored.created else {}
    metadata |= {"model": stored.generation.model} if stored.generation.model else {}
    metadata |= {"state": stored.state} if state else {}
    fence = _open_fence(stored.text)
    metadata |= {"closed": fence} if fence else {}
    closed = f"\n{fence}" if fence else ""
    line = " · ".join(filter(None, map(_line, heading)))
    return f"{_comment(mark, metadata)}\n## {line}\n\n{stored.text}{closed}\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def _open_fence(text: str) -> str:
    """Return the fence that closes the code block left open at the end of `text`, or "" if none is open.

    A stopped answer can leave a code block open, which would then contain all later turns. See CommonMark
    0.31.2, section 4.5.
    """
    fence = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if match is None:
            continue
        run, rest = match[1], match[2]
        if not fence:
            fence = "" if run[0] == "`" and "`" in rest else run
        elif run.startswith(fence) and not rest.strip():
            fence = ""
    return fence


def read(text: str) -> list[Transcript]:
    """Parse Markdown that hermes wrote. Raises FormatError if it is invalid."""
    first = _FIRST_LINE.match(text)
    if first is None:
        raise FormatError(
            f"does not begin with '{BEGIN} …', so it is not Markdown that hermes wrote",
            1,
            hint="in other Markdown, the beginning of a turn is ambiguous",
        )
    if first[3]:  # an editor converted the line endings
        text = text.replace("\r\n", "\n")
    head, *bodies = _bodies(text, first[1])
    stray = re.search(r"^[^\n#][^\n]*", head[1], re.MULTILINE)
    if stray:
        line = 1 + head[1].count("\n", 0, stray.start())
        raise FormatError("has text outside of a turn, before the first comment with a role", line)
    if not bodies:
        head[0].reject("has no turn after it")
    stored = [_stored(n, value, body, is_last=n == len(bodies)) for n, (value, body) in enumerate(bodies, 1)]
    system, _ = split([node.message for node in stored])
    path = [
        message(
            n,
            n - 1 or None,
            node.message,
            created=node.created,
            state=node.state,
            model=node.generation.model,
        )
        for n, node in enumerate(stored[len(system) :], 1)
    ]
    metadata, _ = head
    return [
        transcript(
            path,
            len(path) or None,
            opening=system,
            title=metadata.get("title").text(),
            is_named=metadata.get("is_named").boolean(),
            persona=metadata.get("persona").text().rpartition("/")[2],
        )
    ]


def _bodies(text: str, mark: str) -> list[tuple[Value, str]]:
    """Return the value of each comment, and the text between it and the next comment."""
    comments = list(re.finditer(rf"^<!-- {mark} ([^\n]*)", text, re.MULTILINE))
    ends = [*(comment.start() for comment in comments[1:]), len(text)]
    bodies, line, counted_to = [], 1, 0
    for comment, end in zip(comments, ends, strict=True):
        line, counted_to = line + text.count("\n", counted_to, comment.start()), comment.start()
        if not comment[1].endswith(END):
            raise FormatError(f"the comment does not end with '{END.strip()}'", line)
        bodies.append((parse(comment[1].removesuffix(END), line), text[comment.end() : end]))
    return bodies


def _stored(number: int, metadata: Value, body: str, *, is_last: bool) -> Node:
    heading = _HEADING.match(body)
    text = body[heading.end() if heading else 0 :].removesuffix("\n")
    text = text if is_last else text.removesuffix("\n")
    closed = metadata.get("closed").text()
    text = text.removesuffix("\n" + closed) if closed else text
    return message(
        number,
        None,
        Message(
            metadata["role"].one_of(Role), text, speaker=" ".join(metadata.get("speaker").text().split())
        ),
        created=metadata.get("created").number(0, LAST_TIME),
        state=metadata.get("state").one_of(MessageState, MessageState.COMPLETE),
        model=metadata.get("model").text(),
    )
