"""Tests of the vocabulary of a server's model."""

import threading
from collections.abc import Sequence

import pytest

from hermes_cli.engines.base import Cancel, RequestCancelled
from hermes_cli.engines.remote.client import ServerClient
from hermes_cli.engines.remote.servers.api import RemoteModel
from hermes_cli.engines.remote.servers.llama_server import LlamaTokens
from hermes_cli.engines.remote.vocabulary import RemoteVocabulary
from hermes_cli.messages import Message, Role
from tests.engines.remote.clients import QUESTION, address_of, client_of
from tests.engines.remote.fakes.llama_server import FakeLlamaServer
from tests.engines.remote.fakes.model import FakeModel

MODEL = RemoteModel("hermes", 1024)


class SentencePieceModel(FakeModel):
    """A model that adds a space to the start of each text between two control tokens."""

    def encode(self, text: str, *, control: bool = True) -> list[int]:
        if not control:
            return super().encode(" " + text, control=False)
        spaced = text.replace("<|im_start|>", "<|im_start|> ").replace("<|im_end|>", "<|im_end|> ")
        return super().encode(spaced if text.startswith("<|im_start|>") else " " + spaced)

    def render(self, messages: Sequence[dict[str, str]], *, continues: bool = False) -> str:
        return super().render(messages, continues=continues).removesuffix(" ")


def vocabulary_of(fake: FakeLlamaServer) -> RemoteVocabulary:
    """Return the vocabulary of a fake."""
    root = address_of(fake.url).root_url
    return RemoteVocabulary(client_of(fake), LlamaTokens(root), MODEL)


def test_the_space_that_a_tokenizer_adds_is_not_in_the_prompts_text() -> None:
    """The bytes of all tokens are those of the prompt."""
    with FakeLlamaServer(SentencePieceModel()) as fake:
        vocabulary = vocabulary_of(fake)
        chatml = vocabulary.chatml()
        assert chatml is not None
        tokens = vocabulary.prompt_tokens(chatml.segments(QUESTION))
    text = b"".join(token.data for token in tokens)
    assert text.startswith(b"<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nTell me")


def test_the_same_vocabulary_has_the_same_identifier_on_each_server() -> None:
    """Another one has another identifier."""
    names = set()
    for model in (FakeModel(), FakeModel("other"), SentencePieceModel()):
        with FakeLlamaServer(model) as fake:
            chatml = vocabulary_of(fake).chatml()
            assert chatml is not None
            names.add(chatml.vocabulary)
    assert len(names) == 2


def test_the_bytes_of_a_token_are_asked_for_once() -> None:
    """A token that was not in an encoded text is decoded by the server."""
    with FakeLlamaServer() as fake:
        vocabulary = vocabulary_of(fake)
        (token,) = fake.model.encode("ß")
        assert [vocabulary.bytes_of(token), vocabulary.bytes_of(token)] == ["ß".encode()] * 2
        assert fake.paths().count("/detokenize") == 1


def test_messages_are_counted_by_the_server() -> None:
    """With the prompt that it makes."""
    with FakeLlamaServer() as fake:
        client: ServerClient = client_of(fake)
        tokens = LlamaTokens(address_of(fake.url).root_url)
        message = (Message(Role.USER, "Hi"),)
        expected = len(tokens.prompt_ids(client, MODEL, message, Cancel()))
        assert vocabulary_of(fake).count(message) == expected


def test_a_cancel_ends_only_the_requests_of_its_thread_and_its_block() -> None:
    """A prefill encodes texts on another thread."""
    with FakeLlamaServer() as fake:
        vocabulary = vocabulary_of(fake)
        ids: list[int] = []
        other = threading.Thread(target=lambda: ids.extend(vocabulary.encode("abc")))
        with vocabulary.cancelled_by(Cancel(0)):
            other.start()
            other.join()
            with pytest.raises(RequestCancelled):
                vocabulary.encode("abcd")
        assert vocabulary.encode("abc") == ids == fake.model.encode("abc")
