"""Clients, messages and answers for the tests of model servers."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hermes_cli.engines.base import Cancel
from hermes_cli.engines.remote.address import ServerAddress, parse
from hermes_cli.engines.remote.answer_stream import answer_parts
from hermes_cli.engines.remote.client import ClientSettings, ServerClient
from hermes_cli.engines.remote.connection import open_engine
from hermes_cli.engines.remote.engine import RemoteEngine
from hermes_cli.engines.remote.servers.api import AnswerPart, AnswerRequest, ServerApi
from hermes_cli.engines.remote.servers.detection import apis
from hermes_cli.engines.remote.timer import TimeLimits
from hermes_cli.messages import Message, Role
from hermes_cli.options import GenerationOptions
from tests.engines.remote.fakes.http_server import FakeServer
from tests.engines.remote.fakes.llama_server import FakeLlamaServer
from tests.engines.remote.fakes.lmstudio import FakeLMStudio
from tests.engines.remote.fakes.model import FakeModel
from tests.engines.remote.fakes.ollama import FakeOllama
from tests.engines.remote.fakes.openai_server import FakeOpenAI
from tests.engines.remote.fakes.vllm import FakeVLLM

FAST = ClientSettings(TimeLimits(), retry_delays_s=(0.01, 0.01), max_retry_after_s=1)
"""Settings for servers that answer, with short pauses between the tries."""
IMPATIENT = ClientSettings(TimeLimits(0.5, 0.5, 0.3), retry_delays_s=(0.01, 0.01))
"""Settings for servers that do not answer."""
CERTIFICATE = Path(__file__).parent / "fakes" / "localhost.pem"
CANCEL_S = 2.0
"""How long a cancelled request may take to close its connection; 0.05 if the cores are not shared."""
Fake = FakeOpenAI | FakeOllama
FAKES: dict[str, type[FakeOpenAI] | type[FakeOllama]] = {
    "llama-server": FakeLlamaServer,
    "lmstudio": FakeLMStudio,
    "ollama": FakeOllama,
    "openai": FakeOpenAI,
    "vllm": FakeVLLM,
}
QUESTION = (Message(Role.SYSTEM, "You are brief."), Message(Role.USER, "Tell me a story."))
SHORT = GenerationOptions(max_tokens=12)


class OtherModel(FakeModel):
    """A model whose chat template is not ChatML, so that the server renders the messages."""

    def render(self, messages: Sequence[dict[str, str]], *, continues: bool = False) -> str:
        text = "".join(f"[{message['role']}] {message['content']}\n" for message in messages)
        return text.removesuffix("\n") if continues else text + "[assistant] "


def address_of(url: str) -> ServerAddress:
    """Return the address of a URL."""
    address = parse(url, {}, {})
    assert address is not None
    return address


def opened(fake: Fake, notices: list[str] | None = None, context_size: int | None = 1024) -> RemoteEngine:
    """Return the engine of the only model of a fake."""
    notify = (notices if notices is not None else []).append
    address = ServerAddress(fake.url, fake.url)
    return open_engine(address, {}, context_size=context_size, notify=notify, settings=FAST)


def client_of(fake: FakeServer, settings: ClientSettings = FAST) -> ServerClient:
    """Return a client for a fake."""
    return ServerClient(address_of(fake.url), None, {}, settings)


def api_of(fake: FakeServer, kind: str) -> ServerApi:
    """Return the API of a fake."""
    return apis(address_of(fake.url))[kind]


def parts_of(fake: FakeServer, request: AnswerRequest) -> list[AnswerPart]:
    """Return the parts of an answer."""
    return list(answer_parts(client_of(fake), request, Cancel()))


def chat(
    fake: FakeOpenAI | FakeOllama,
    kind: str,
    messages: Sequence[Message] = QUESTION,
    options: GenerationOptions = SHORT,
    *,
    context_size: int = 1024,
    settings: ClientSettings = FAST,
) -> list[AnswerPart]:
    """Return the parts of the answer to messages."""
    api, client = api_of(fake, kind), client_of(fake)
    model = api.find_model(client, fake.model.name, Cancel())
    request = api.chat_request(model, messages, options, context_size)
    return list(answer_parts(client_of(fake, settings), request, Cancel()))


def text_of(parts: Sequence[AnswerPart]) -> str:
    """Return the text of an answer."""
    return "".join(part.text for part in parts)


@contextmanager
def cancelled_after(seconds: float) -> Iterator[Cancel]:
    """Set the cancel after some seconds, and check that the block ends soon afterwards."""
    cancel = Cancel()
    timer = threading.Timer(seconds, cancel.set)
    timer.start()
    start = time.monotonic()
    yield cancel
    assert time.monotonic() - start < seconds + CANCEL_S
