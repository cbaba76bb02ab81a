"""Long conversations with a character over the fake of each server: the requests, and the stored turns."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_cli.chat.prompt_settings import Overflow
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.errors import UsageError
from hermes_cli.options import GenerationOptions
from tests.engines.remote.clients import FAKES, Fake, opened
from tests.engines.remote.fakes.model import FakeModel, Generation
from tests.engines.remote.long_play import GREETING, LORE, QUESTIONS, SYSTEM, LongPlay
from tests.engines.remote.test_engine import ANSWER_PATHS

CANNOT_CONTINUE = {"lmstudio", "openai"}
SMALL = 640


class Parrot(FakeModel):
    """A model whose answer is determined by the last turn of the user in the prompt."""

    def generate(self, prompt: list[int], max_tokens: int | None) -> Generation:
        text = "".join(self.texts(prompt))
        question = text.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
        begun = text.rpartition("<|im_start|>assistant\n")[2]
        self.answers = [answer_to(question).removeprefix(begun)]
        return super().generate(prompt, max_tokens)


def answer_to(question: str) -> str:
    """Return the parrot's answer."""
    return f"You said «{question[:24]}» über 🎉."


@pytest.fixture(params=FAKES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn."""
    return str(request.param)


@pytest.fixture
def fake(kind: str) -> Iterator[Fake]:
    """A fake of that kind, with the parrot."""
    with FAKES[kind](Parrot()) as server:
        yield server


def prompts(fake: Fake, kind: str) -> list[str]:
    """Return the prompts of all answers as text."""
    bodies = [request.body for request in fake.requests if request.path == ANSWER_PATHS[kind]]
    return [
        "".join(fake.model.texts(body["prompt"])) if "prompt" in body else fake.model.render(body["messages"])
        for body in bodies
    ]


def play_of(
    fake: Fake, folder: Path, overflow: Overflow, context_size: int
) -> tuple[LongPlay, RemoteEngine, list[str]]:
    """Return a play over a fake, its engine, and the notices of the engine."""
    notices: list[str] = []
    fake.model.context_size = context_size
    engine = opened(fake, notices, context_size)
    play = LongPlay(engine, folder / "conversations.db", overflow, GenerationOptions(max_tokens=60))
    return play, engine, notices


def check_prompts(fake: Fake, kind: str, play: LongPlay, texts: list[str]) -> None:
    """Check that each prompt of an answer begins with the system prompt, has the lore, and fits."""
    for text in texts:
        assert text.startswith(f"<|im_start|>system\n{SYSTEM}")
        question = text.rpartition("<|im_start|>user\n")[2]
        assert (LORE in text) or ("lamp" not in question)
        assert len(fake.model.encode(text)) < play.engine.context_size
    assert GREETING in texts[0]
    assert QUESTIONS[0] in texts[0]
    assert texts[-1].rstrip().endswith("assistant")
    assert QUESTIONS[-1] in texts[-1]
    assert fake.paths()[-1] == ANSWER_PATHS[kind]


def test_a_long_play_that_drops_old_turns(fake: Fake, kind: str, tmp_path: Path) -> None:
    """The system prompt stays, old turns are left out, and every answer is the model's."""
    play, _, notices = play_of(fake, tmp_path, Overflow.DROP, SMALL)
    play.play(can_continue=kind not in CANNOT_CONTINUE)
    play.close()
    texts = prompts(fake, kind)
    check_prompts(fake, kind, play, texts)
    assert QUESTIONS[0] not in texts[-1]
    assert notices == []
    whole = {answer_to(question) for question in [*QUESTIONS, f"{QUESTIONS[5]} And why?"]}
    assert sum(answer in whole for answer in play.answers) >= len(play.answers) - 1  # one was cancelled
    assert any("left out" in remark.lower() for remark in play.remarks), play.remarks
    assert all(0 < usage.prompt_tokens < SMALL for usage in play.usages)


def test_a_long_play_that_summarizes_old_turns(fake: Fake, kind: str, tmp_path: Path) -> None:
    """The summary is in the prompts instead of the turns, also after a restart."""
    play, _, notices = play_of(fake, tmp_path, Overflow.SUMMARISE, SMALL)
    play.play(can_continue=kind not in CANNOT_CONTINUE)
    texts = [text for text in prompts(fake, kind) if SYSTEM in text]
    check_prompts(fake, kind, play, texts)
    assert "What happened before:" in texts[-1]
    assert play.session.summaries
    count = len(play.session.summaries)
    play.resume()
    assert len(play.session.summaries) == count
    play.close()
    assert notices == []
    assert any("Summarized" in remark for remark in play.remarks)


@pytest.mark.parametrize("kind", sorted(CANNOT_CONTINUE))
def test_continuing_is_refused_where_the_server_cannot(fake: Fake, kind: str, tmp_path: Path) -> None:
    """The answer stays as it is."""
    play, _, _ = play_of(fake, tmp_path, Overflow.DROP, SMALL)
    answer = play.send(QUESTIONS[0])
    with pytest.raises(UsageError, match="cannot continue a message"):
        play.proceed()
    play.check(answer)
    play.close()
    del kind


@pytest.mark.parametrize("kind", ["llama-server", "vllm"])
def test_each_turn_reuses_the_prompt_before_it(fake: Fake, kind: str, tmp_path: Path) -> None:
    """At level 1, only the new turn is new to the server, even after Ctrl-C."""
    play, _, _ = play_of(fake, tmp_path, Overflow.DROP, 4096)
    before = 0
    for number, question in enumerate(QUESTIONS[:8]):
        if number == 5:
            play.cancel("Say that again.")
            before = 0
        play.send(question)
        usage = play.usages[-1]
        assert usage.cached_tokens >= before
        before = usage.prompt_tokens + usage.completion_tokens - 2
    play.close()
    del kind


def test_a_play_goes_on_with_another_server(tmp_path: Path) -> None:
    """A conversation of one kind of server is continued on all others, and back."""
    kinds = [*FAKES, next(iter(FAKES))]
    play: LongPlay | None = None
    for number, kind in enumerate(kinds):
        with FAKES[kind](Parrot()) as fake:
            engine = opened(fake, context_size=4096)
            fake.model.context_size = 4096
            if play is None:
                play = LongPlay(
                    engine, tmp_path / "conversations.db", options=GenerationOptions(max_tokens=60)
                )
            else:
                play.resume(engine)
            assert play.send(QUESTIONS[number]) == answer_to(QUESTIONS[number])
            last = prompts(fake, kind)[-1]
            assert all(question in last for question in QUESTIONS[: number + 1])
    assert play is not None
    play.close()
