"""The transformers engine. Each turn evaluates only its new tokens."""

import time
from collections.abc import Iterator, Sequence

from hermes_cli.engines.answer_state import AnswerState
from hermes_cli.engines.base import (
    Cancel,
    Chunk,
    Completion,
    FinishReason,
    Progress,
    PromptToken,
    Timings,
    Usage,
)
from hermes_cli.engines.prompt_cache_dir import PromptCacheDir
from hermes_cli.engines.stream_filters import PhraseBan, Piece
from hermes_cli.engines.tokenizer_json import Vocabulary, read_vocabulary
from hermes_cli.engines.transformers.cuda_graphs import graph_recorder
from hermes_cli.engines.transformers.decode import Decoder, TokenGenerator
from hermes_cli.engines.transformers.detokenizer import Detokenizer
from hermes_cli.engines.transformers.loading import Report, load_model
from hermes_cli.engines.transformers.prompt_cache import PromptCache
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.errors import ContextOverflow, HermesError
from hermes_cli.messages import Message
from hermes_cli.models.plan import Plan
from hermes_cli.options import GenerationOptions


class TransformersEngine:
    """A Hugging Face model: `decoder` holds its weights, `vocabulary` its tokenizer.

    `prefixes` is the prefix cache on disk, or None to use none.
    """

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        *,
        name: str,
        context_size: int,
        prefixes: PromptCache | None = None,
    ) -> None:
        self.name = name
        self.context_size = context_size
        self._decoder: Decoder | None = decoder
        self._vocabulary = vocabulary
        self._prefixes = prefixes

    @classmethod
    def open(
        cls,
        plan: Plan,
        *,
        report: Report | None = None,
        kept: PromptCacheDir | None = None,
        ahead: bool = True,
    ) -> "TransformersEngine":
        """Load the model of a plan. With `ahead`, a GPU may decode without waiting for the host.

        Raises as `load_model` and `read_vocabulary` do.
        """
        vocabulary = read_vocabulary(plan.path)
        model, device = load_model(plan, report)
        decoder = Decoder(model, device, plan.context_size, graph_recorder(device) if ahead else None)
        prefixes = PromptCache(kept, plan) if kept is not None else None
        return cls(decoder, vocabulary, name=plan.model, context_size=plan.context_size, prefixes=prefixes)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer; see Engine."""
        if self._decoder is None:
            raise HermesError("no model is loaded", "/model NAME loads one")
        prompt = self._vocabulary.chatml.ids(messages)
        if len(prompt) >= self.context_size:
            raise ContextOverflow(len(prompt), self.context_size)
        reply = AnswerState(self._vocabulary.chatml, self._vocabulary.chatml.open_turn_ids(messages), options)
        limit = min(options.max_tokens or self.context_size, self.context_size - len(prompt))
        answer = _Answer(self._decoder, self._vocabulary, prompt, limit, options)
        return self._with_prefix(messages, self._decoder, answer.chunks(reply, cancel))

    def _with_prefix(
        self, messages: Sequence[Message], decoder: Decoder, chunks: Iterator[Chunk]
    ) -> Iterator[Chunk]:
        """Restore the system prompt's states before the answer, or save them after it."""
        if self._prefixes is None or not self._prefixes.wants(messages):
            yield from chunks
            return
        ids = self._vocabulary.chatml.system_ids(messages)
        self._prefixes.restore(decoder, ids)
        yield from chunks
        self._prefixes.save(decoder, ids)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of the prompt."""
        return len(self._vocabulary.chatml.ids(messages))

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt."""
        return self._vocabulary.prompt_tokens(messages)

    def close(self) -> None:
        """Free the model."""
        if self._decoder is not None:
            decoder, self._decoder = self._decoder, None
            decoder.close()


class _Answer:
    """One answer of at most `limit` tokens after `prompt`."""

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        prompt: list[int],
        limit: int,
        options: GenerationOptions,
    ) -> None:
        self._decoder = decoder
        self._prompt = prompt
        self._limit = limit
        self._stop_ids = vocabulary.stop_ids
        self._speller = Detokenizer(vocabulary.words, byte_level=vocabulary.byte_level)
        self._history = History(prompt)
        breakers = vocabulary.breakers if options.dry_multiplier else ()
        self._ban = PhraseBan(options.ban)
        never = vocabulary.ids_that(self._ban.holds) if options.ban else ()
        self._sampler = Sampler(options, decoder.device, breakers, never)
        self._next = TokenGenerator(decoder, self._sampler, self._history, limit)
        self._unsaid: dict[int, set[int]] = {}
        """By position: the ids that began a banned phrase there."""
        self._reason: FinishReason | None = None
        self._ended_by_token = False

    @property
    def _made(self) -> int:
        return len(self._history.ids) - len(self._prompt)

    def chunks(self, reply: AnswerState, cancel: Cancel) -> Iterator[Chunk]:
        """Yield the answer. However it ends, the KV cache keeps the tokens that were evaluated."""
        began = time.monotonic()
        # A step evaluates the last id, like every generated one, so that a retry gets exactly the logits of
        # the first try. (In 16 bits, a cache that was filled in another way is rounded in another way: a seed
        # gives the same answer again only for the same history of the cache.)
        cached = self._decoder.reuse(self._prompt[:-1])
        new = self._prompt[cached:-1]
        if not cancel.is_set():
            for done in self._decoder.prefill(new):
                yield Chunk("", progress=Progress(done, len(new)))
                if cancel.is_set():
                    break
        first = 0.0
        while reply.reason is None and (piece := self._next_pieces(cancel)) is not None:
            first = first or time.monotonic()
            for one in piece:
                if reply.reason is None and (text := reply.take(one.text, one.ids)):
                    yield Chunk(text)
        held = "".join(reply.take(one.text, one.ids) for one in self._ban.flush() if reply.reason is None)
        if text := held + reply.flush():
            yield Chunk(text)
        now = time.monotonic()
        yield Chunk(
            "",
            Completion(
                reply.reason or self._reason or FinishReason.CANCELLED,
                Usage(len(self._prompt), self._made + self._ended_by_token, self._decoder.reused),
                Timings((first or now) - began, now - (first or now)),
                reply.turn_ids(),
                self._slower(),
            ),
        )

    def _slower(self) -> str:
        """Return the reason why a device that can decode ahead of the host did not, or ""."""
        if self._decoder.can_go_ahead and self._sampler.needs_words:
            return "DRY and banned texts are looked for on the host"
        return self._decoder.slower

    def _next_pieces(self, cancel: Cancel) -> list[Piece] | None:
        """Generate one token and return the pieces that can be shown now; None at the end of the answer."""
        if cancel.is_set():
            self._reason = FinishReason.CANCELLED
            return None
        if self._made == self._limit:
            self._reason = FinishReason.LENGTH
            return None
        token = self._next.next(self._unsaid.get(len(self._history.ids), ()))
        if token in self._stop_ids:
            self._reason = FinishReason.STOP
            self._ended_by_token = True
            return None
        self._history.append(token)
        piece = self._speller.feed(token)
        if piece is None:
            return []
        shown, unsaid = self._ban.feed(piece)
        if unsaid:
            self._take_back(unsaid)
        return shown

    def _take_back(self, pieces: list[Piece]) -> None:
        """Rewind to before a banned phrase, and ban the id that it began with at that position."""
        place = len(self._history.ids) - sum(len(piece.ids) for piece in pieces)
        self._unsaid = {at: ids for at, ids in self._unsaid.items() if at <= place}
        self._unsaid.setdefault(place, set()).add(pieces[0].ids[0])
        self._history.truncate(place)
        self._decoder.rewind(place - 1)
