"""Measure the default of `names`: `python -m benchmarks.speaker_names`.

Prints how often the answers of the starter lose their character, without and with the name of the speaker
before each turn: in chats with three characters, and in chats with one of them. An answer is counted as the
model wrote it: also the text after a name that ends it in a chat.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.hermes import open_engine
from benchmarks.measure import ROOT
from hermes_cli.chat.members import Member, together
from hermes_cli.chat.prompt_settings import Names, PromptSettings
from hermes_cli.chat.session import Session
from hermes_cli.engines.base import Cancel, Chunk, Completion, Engine, FinishReason
from hermes_cli.engines.stream_filters import StopScanner
from hermes_cli.messages import Message, Opening
from hermes_cli.models import hardware, starter
from hermes_cli.options import GenerationOptions, LayeredOptions
from hermes_cli.personas.macros import Macros
from hermes_cli.personas.persona import Persona

SEEDS = range(1, 7)
OPTIONS = GenerationOptions(max_tokens=48)
USER = "Robin"
CHARACTERS = {
    "Alice": ("You are Alice, a cheerful baker. You talk about bread.", "Good morning! I have fresh rolls."),
    "Bob": ("You are Bob, a grumpy sailor. You hate bread and love the sea.", "Hmpf. Is there rum?"),
    "Carol": ("You are Carol, a curious astronomer. You talk about stars.", "Look, Venus is still up!"),
}
"""The system prompt and the greeting of each character."""
TURNS = (
    "Hello! Who are you?",
    "Alice and Bob, what did you do yesterday?",
    "What do you think of that?",
    "Carol, who in this room would enjoy a night at sea?",
    "Bob, tell Alice why you hate bread.",
    "I am hungry. What can I do?",
    "Carol and Alice, tell me a secret.",
    "Who of you is the oldest?",
    "Bob, say something nice to Carol.",
    "I have to go now. What do you say?",
)
MEASURES = ("speak for another", "repeat their name", "address themselves", "take another name", "are empty")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as the model wrote it, its character, and the tokens of its prompt."""

    speaker: str
    text: str
    prompt_tokens: int


class UncutEngine:
    """An engine that keeps the text of its answers, including the lines that begin with a name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.texts: list[str] = []
        self.prompt_tokens: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer up to the first stop string, and generate it to its end."""
        scanner, usage = StopScanner(options.stop), Completion(FinishReason.STOP).usage
        self.texts.append("")
        for chunk in self._engine.stream(messages, replace(options, stop=()), cancel):
            self.texts[-1] += chunk.text
            if not scanner.found:
                yield Chunk(scanner.feed(chunk.text))
            usage = chunk.completion.usage if chunk.completion else usage
        self.prompt_tokens.append(usage.prompt_tokens)
        yield Chunk("" if scanner.found else scanner.flush(), Completion(FinishReason.STOP, usage))


def chat(engine: Engine, names: Names, seed: int, characters: Sequence[str]) -> list[Answer]:
    """Have the chat, and return its answers."""
    uncut = UncutEngine(engine)
    settings = PromptSettings(names=names, stops_at_user=True)
    members = [
        Member(
            Persona(name, "", ROOT),
            Opening(CHARACTERS[name][0], greetings=(CHARACTERS[name][1],)),
            replace(settings, macros=Macros(name, USER)),
        )
        for name in characters
    ]
    options = LayeredOptions(replace(OPTIONS, seed=seed))
    session = Session(uncut, together(members), options)  # type: ignore[arg-type]  # by __getattr__
    speakers = list[str]()
    for text in TURNS:
        speakers += _answers(session, text)
    return [Answer(*row) for row in zip(speakers, uncut.texts, uncut.prompt_tokens, strict=True)]


def _answers(session: Session, text: str) -> Iterator[str]:
    """Send a turn, let everyone answer who is mentioned, and yield their names."""
    for _ in session.send(text, Cancel()):
        pass
    yield _last_speaker(session)
    while session.waiting:
        for _ in session.talk(session.waiting[0], Cancel()):
            pass
        yield _last_speaker(session)


def _last_speaker(session: Session) -> str:
    return session.tree.path[-1].speaker or session.members[0].name


def faults(answer: Answer) -> Mapping[str, bool]:
    """Return which of MEASURES are true of an answer."""
    own = answer.speaker
    others = "|".join(name for name in (*CHARACTERS, USER) if name != own)
    begins = r"^[\s*\"]*"
    return {
        "speak for another": bool(re.search(rf"{begins}(?:{others})\s*:", answer.text, re.MULTILINE)),
        "repeat their name": bool(re.search(rf"{begins}{own}\s*:", answer.text, re.MULTILINE)),
        "address themselves": bool(
            re.search(
                rf"\b(?:hi|hello|hey|dear|thanks|thank you|well|oh)\b,? {own}\b", answer.text, re.IGNORECASE
            )
            or re.search(rf"{begins}{own}[,!]|, {own}[,.!?]", answer.text, re.MULTILINE)
        ),
        "take another name": bool(
            re.search(
                rf"\b(?:I am|I['\u2019]m|my name is|this is) (?:{others})\b", answer.text, re.IGNORECASE
            )
        ),
        "are empty": not answer.text.strip(),
    }


def row(answers: Sequence[Answer]) -> list[str]:
    """Return the cells of a row: the number of answers, the shares, and the tokens of a prompt."""
    shares = [sum(faults(answer)[measure] for answer in answers) / len(answers) for measure in MEASURES]
    tokens = sum(answer.prompt_tokens for answer in answers) / len(answers)
    return [str(len(answers)), *(f"{share:.0%}" for share in shares), f"{tokens:.0f}"]


def main() -> None:
    gguf = starter.fetch(ROOT / ".cache" / "models").resolve()
    engine = open_engine(str(gguf), 4096, hardware.probe().physical_cores)
    print("| characters | names | answers |", " | ".join(MEASURES), "| tokens of a prompt |")
    print("| --- | --- |", " --- |" * (len(MEASURES) + 2), sep="")
    groups = {"three": [list(CHARACTERS)], "one": [[name] for name in CHARACTERS]}
    for kind, casts in groups.items():
        for names in (Names.NEVER, Names.ALWAYS):
            seeds = SEEDS if kind == "three" else SEEDS[:2]
            answers = [each for cast in casts for seed in seeds for each in chat(engine, names, seed, cast)]
            print("|", " | ".join([kind, str(names), *row(answers)]), "|", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
