"""The transformers engine. For each turn it evaluates only the new tokens."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeVar

from hermes_cli.engines.base import Cancel, Chunk, FinishReason, Progress, PromptToken, Usage
from hermes_cli.engines.detokenizer import Detokenizer
from hermes_cli.engines.prompt_cache_dir import MIN_TOKENS, PromptCacheDir
from hermes_cli.engines.stream_filters import Answer, PhraseBan, Piece
from hermes_cli.engines.tokenizer_json import Vocabulary, read_vocabulary
from hermes_cli.engines.transformers.cuda_graphs import cuda_capture
from hermes_cli.engines.transformers.decode import Decoder, TokenGenerator
from hermes_cli.engines.transformers.loading import Report, load_model, placement_of
from hermes_cli.engines.transformers.prompt_cache import PromptCache
from hermes_cli.engines.transformers.sampling import History, Sampler
from hermes_cli.errors import ContextOverflow, HermesError
from hermes_cli.messages import Message
from hermes_cli.models.plan.planner import Plan
from hermes_cli.options import GenerationOptions
from hermes_cli.placement import Placement

T = TypeVar("T")


class TransformersEngine:
    """A loaded Hugging Face model: `decoder` holds its weights, `vocabulary` its tokenizer.

    `prefixes` is the prefix cache on disk, or None to disable it.
    """

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        *,
        name: str,
        context_size: int,
        max_context_size: int = 0,
        prefixes: PromptCache | None = None,
        placement: Placement | None = None,
        lookup: bool = False,
    ) -> None:
        self.name = name
        self.placement = placement
        self.estimates_tokens = False
        self.context_size = context_size
        self.max_context_size = max(max_context_size, context_size)
        self._decoder: Decoder | None = decoder
        self._vocabulary = vocabulary
        self._prefixes = prefixes
        self._lookup = lookup

    @classmethod
    def open(
        cls,
        plan: Plan,
        *,
        report: Report | None = None,
        cache_dir: PromptCacheDir | None = None,
        cuda_graphs: bool = True,
        lookup: bool = False,
    ) -> "TransformersEngine":
        """Load the model of a plan.

        `cuda_graphs` permits decoding with CUDA graphs, `lookup` drafts of ids that repeat earlier ones.

        Raises the errors of `load_model` and `read_vocabulary`.
        """
        vocabulary = read_vocabulary(plan.path, plan.prompt_format)
        model, device = load_model(plan, report)
        decoder = Decoder(model, device, plan.context_size, cuda_capture(device) if cuda_graphs else None)
        prefixes = PromptCache(cache_dir, plan) if cache_dir is not None else None
        return cls(
            decoder,
            vocabulary,
            name=plan.model,
            context_size=plan.context_size,
            max_context_size=plan.max_context_size,
            prefixes=prefixes,
            placement=placement_of(model),
            lookup=lookup,
        )

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer; see Engine.stream."""
        if self._decoder is None:
            raise HermesError("no model is loaded", "load one with /model NAME")
        prompt = self._vocabulary.format.ids(messages)
        if len(prompt) >= self.context_size:
            raise ContextOverflow(len(prompt), self.context_size)
        limit = min(options.max_tokens or self.context_size, self.context_size - len(prompt))
        generation = _Generation(self._decoder, self._vocabulary, prompt, limit, options, lookup=self._lookup)
        return self._with_prefix(messages, self._decoder, generation.chunks(messages, options, cancel))

    def _with_prefix(self, messages: Sequence[Message], decoder: Decoder, chunks: Iterator[T]) -> Iterator[T]:
        """Yield `chunks`. First restore the persona's part from the prefix cache; at the end, save it."""
        ids = self._vocabulary.format.cacheable_ids(messages)
        if self._prefixes is None or len(ids) < MIN_TOKENS:
            yield from chunks
            return
        self._prefixes.restore(decoder, ids)
        yield from chunks
        self._prefixes.save(decoder, ids)

    def prefill(self, messages: Sequence[Message], cancel: Cancel) -> None:
        """Evaluate the ids of the messages; see Engine.prefill."""
        ids, decoder = self._vocabulary.format.common_ids(messages), self._decoder
        if decoder is None or len(ids) >= self.context_size or cancel.is_set():
            return
        for _ in self._with_prefix(messages, decoder, _prefill(decoder, ids, cancel)):
            pass

    def count_tokens(
        self,
        messages: Sequence[Message],
        limit: int | None = None,
        cancel: Cancel | None = None,  # noqa: ARG002 - no server is asked
    ) -> int:
        """Return the number of tokens in the prompt for `messages`; see Engine.count_tokens."""
        return self._vocabulary.count_tokens(messages, self.context_size if limit is None else limit)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt for `messages`."""
        return self._vocabulary.prompt_tokens(messages)

    def close(self) -> None:
        """Free the model."""
        if self._decoder is not None:
            decoder, self._decoder = self._decoder, None
            decoder.close()


class _Generation:
    """Generates one answer of at most `limit` tokens. `prompt` is a list of token ids."""

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        prompt: list[int],
        limit: int,
        options: GenerationOptions,
        *,
        lookup: bool,
    ) -> None:
        self._decoder = decoder
        self._vocabulary = vocabulary
        self._prompt = prompt
        self._end = len(prompt) + limit
        self._detokenizer = Detokenizer(vocabulary.entries, byte_level=vocabulary.byte_level)
        self._history = History(prompt)
        self._ban = PhraseBan(options.ban)
        breakers = vocabulary.breakers if options.dry_multiplier else ()
        never = vocabulary.ids_where(self._ban.matches) if options.ban else ()
        sampler = Sampler(options, decoder.device, breakers, never)
        self._new_tokens = partial(TokenGenerator, decoder, sampler, self._history, lookup=lookup)
        self._tokens = self._new_tokens(limit)
        self._banned: dict[int, set[int]] = {}
        """Maps a position to the ids that began a banned phrase there."""
        self._finish_reason = FinishReason.CANCELLED

    def chunks(
        self, messages: Sequence[Message], options: GenerationOptions, cancel: Cancel
    ) -> Iterator[Chunk]:
        """Yield the answer. If it is cancelled, the KV cache keeps the tokens evaluated so far.

        A decode step evaluates the last id of the prompt, as it does every generated id, so that a retry
        computes exactly the same logits. (In 16-bit precision, rounding depends on how the ids were batched,
        so a seed reproduces an answer only if the KV cache was filled in the same way.)
        """
        answer = Answer(self._vocabulary.format, messages, options)
        for progress in _prefill(self._decoder, self._prompt[:-1], cancel):
            yield Chunk("", progress=progress)
        cached = self._decoder.cached_tokens  # later prefills of this answer change it
        while answer.finish_reason is None and (pieces := self._next_pieces(cancel)) is not None:
            answer.start_decode()
            yield from _fed(answer, pieces)
            if answer.exceeds_budget:
                self._append(answer.close_reasoning(), cancel)
        yield from _fed(answer, self._ban.flush())
        if (chunk := answer.flush()).has_text:
            yield chunk
        generated = len(self._history.ids) - len(self._prompt) + (self._finish_reason is FinishReason.STOP)
        usage = Usage(len(self._prompt), generated, cached)
        yield Chunk("", answer.completion(usage, self._finish_reason, self._tokens.no_graphs_reason))

    def _next_pieces(self, cancel: Cancel) -> list[Piece] | None:
        """Generate one token. Return the text that can be shown, or None at the end of the answer."""
        if cancel.is_set():
            return None
        position = len(self._history.ids)
        if position >= self._end:
            self._finish_reason = FinishReason.LENGTH
            return None
        token = self._tokens.next(self._banned.get(position, ()))
        if token in self._vocabulary.format.end_ids:
            self._finish_reason = FinishReason.STOP
            return None
        self._history.append(token)
        piece = self._detokenizer.feed(token)
        if piece is None:
            return []
        ready, removed = self._ban.feed(piece)
        if removed:
            self._remove(removed)
        return ready

    def _append(self, ids: Sequence[int], cancel: Cancel) -> None:
        """Let the model read ids that it has not generated."""
        for token in ids:
            self._history.append(token)
        for _ in _prefill(self._decoder, self._history.ids[:-1], cancel):
            pass
        self._tokens = self._new_tokens(max(0, self._end - len(self._history.ids)))

    def _remove(self, pieces: list[Piece]) -> None:
        """Rewind to the start of a banned phrase, and ban its first id at that position."""
        position = len(self._history.ids) - sum(len(piece.ids) for piece in pieces)
        self._banned = {at: ids for at, ids in self._banned.items() if at <= position}
        self._banned.setdefault(position, set()).add(pieces[0].ids[0])
        self._history.truncate(position)
        self._decoder.rewind(position - 1)


def _fed(answer: Answer, pieces: Sequence[Piece]) -> Iterator[Chunk]:
    """Add pieces to the answer until it ends, and yield what can be shown."""
    for piece in pieces:
        if answer.finish_reason is None and (chunk := answer.feed(piece.text, piece.ids)).has_text:
            yield chunk


def _prefill(decoder: Decoder, ids: list[int], cancel: Cancel) -> Iterator[Progress]:
    """Evaluate those of `ids` that are not in the KV cache, and drop the others from it."""
    new = ids[decoder.rewind_to_prefix(ids) :]
    if cancel.is_set():
        return
    for done in decoder.prefill(new):
        yield Progress(done, len(new))
        if cancel.is_set():
            return
