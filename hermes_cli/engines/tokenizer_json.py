"""Reads the tokenizer in a folder of Hugging Face weights from tokenizer.json, without torch."""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hermes_cli.engines import detokenizer
from hermes_cli.engines.base import PromptToken
from hermes_cli.errors import HermesError, ModelUnavailable, first_line
from hermes_cli.messages import Message
from hermes_cli.models.checkpoint.folder import OLDER_TOKENIZER, no_tokenizer, templates_of
from hermes_cli.models.checkpoint.json_file import read_bytes, read_object
from hermes_cli.models.checkpoint.tokenizer_file import TOKENIZER
from hermes_cli.models.gguf.model import FETCH_AGAIN
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.chatml import IM_END, IM_START, ChatML
from hermes_cli.prompts.format_choice import FormatChoice
from hermes_cli.prompts.prompt_format import PromptFormat
from hermes_cli.prompts.protected_text import ControlToken
from hermes_cli.prompts.text_encoder import Encode, looks_like_control

MAX_BYTES = 64 << 20
"""Maximum size of a tokenizer.json. The largest in use are about 30 MB."""
MAX_GAP = 1 << 16
"""Maximum number of unused ids in a vocabulary. A list with huge gaps would exhaust the memory."""
_ELEMENT = re.compile(
    r"\\."
    r"|\[\^?\]?(?:\\.|\[(?:\\.|[^\]\\])*\]|[^\]\\])*\]"
    r"|\(\?<?[=!:>]|\(\?[a-z-]*:"
    r"|[+*]|\{\d*,\d*\}|\{\d+\}"
    r"|.",
    re.DOTALL,
)
"""An element of a regular expression: an escape, a set, a group's start, a repetition, or a character."""
_REPETITION = re.compile(r"[+*]|\{\d*,(\d*)\}|\{(\d+)\}")
_FEW, _MANY = 3, 1 << 20
"""Repetitions up to _FEW are harmless."""
CONFIG_FILES = ("config.json", "generation_config.json")


class Vocabulary:
    """The contents of a tokenizer.json. `end_ids` are the end-of-text ids from the model's config files.

    Prompts are rendered with `template`, or else as ChatML.

    Raises ModelUnavailable if the prompt format cannot be used, an added token has two ids, or a
    regular expression could take very long; and ValueError, KeyError or TypeError for other invalid contents.
    """

    def __init__(
        self, tokenizer_json: str, end_ids: Iterable[int] = (), template: ChatTemplate | None = None
    ) -> None:
        self.name = hashlib.sha256(tokenizer_json.encode()).hexdigest()
        spec = json.loads(tokenizer_json)
        added = spec.get("added_tokens", [])
        entries = _model_entries(spec["model"]["vocab"])
        for token in added:
            _check_id(token, entries.get(token["content"], token["id"]))
        self.entries = _entries(entries, added)
        self.byte_level = "ByteLevel" in json.dumps([spec.get("pre_tokenizer"), spec.get("decoder")])
        control = {token["content"]: int(token["id"]) for token in added if _is_control(token)}
        self.special = frozenset(token["content"] for token in added if token.get("special"))
        """The control tokens that no text has, unlike for example `<table>` in Gemma's vocabulary."""
        end_ids = frozenset(end_ids)
        ends = detokenizer.texts(end_ids, self.entries, byte_level=self.byte_level)
        self.format = _prompt_format(spec, self.name, {**ends, **control}, end_ids, template)

    def count_tokens(self, messages: Sequence[Message], limit: int) -> int:
        """Return the number of tokens in the prompt for `messages`; see PromptFormat.count for the limit."""
        return self.format.count(messages, limit)

    def prompt_tokens(self, messages: Sequence[Message]) -> list[PromptToken]:
        """Return the tokens of the prompt for `messages`."""
        segments = self.format.segments(messages)
        return detokenizer.prompt_tokens(segments, self.entries, byte_level=self.byte_level)

    @cached_property
    def breakers(self) -> frozenset[int]:
        """The ids at which DRY ends a sequence: those with a newline, colon, quotation mark or asterisk.

        Source: the defaults of text-generation-webui and llama.cpp.
        """
        marks = ("\n", ":", '"', "*")
        return self.ids_where(lambda text: any(mark in text for mark in marks))

    def ids_where(self, matches: Callable[[str], bool]) -> frozenset[int]:
        """Return the ids of the tokens whose text `matches` accepts."""
        return detokenizer.ids_where(matches, self.entries, byte_level=self.byte_level)


def _model_entries(vocabulary: dict[str, int] | list[tuple[str, float]]) -> dict[str, int]:
    """Return the ids of a model's tokens. Unigram models store a list of tokens and scores."""
    if isinstance(vocabulary, list):
        return {token: index for index, (token, _) in enumerate(vocabulary)}
    return {token: int(index) for token, index in vocabulary.items()}


def _entries(vocabulary: dict[str, int], added: list[dict[str, Any]]) -> list[str]:
    """Return the tokens in the order of their ids. Raises ValueError if too many ids are unused."""
    entries = {index: token for token, index in vocabulary.items()}
    entries |= {int(token["id"]): token["content"] for token in added}
    if not entries or max(entries) > len(entries) + MAX_GAP:
        raise ValueError(
            f"the vocabulary has {len(entries):,} tokens, but the largest id is {max(entries, default=0):,}"
        )
    return [entries.get(i, "") for i in range(max(entries) + 1)]


def _check_id(token: dict[str, Any], library_id: int) -> None:
    """Raise ModelUnavailable if the tokenizers library gives an added token another id than the file."""
    if library_id != token["id"]:
        raise ModelUnavailable(f"its {TOKENIZER} has two ids for the token {token['content']!r}", FETCH_AGAIN)


def _is_control(token: dict[str, Any]) -> bool:
    """Return whether an added token is a control token.

    OpenHermes 2 does not mark <|im_start|> as special. A newline can be an added token, even a special one.
    """
    content = token["content"]
    return looks_like_control(content) or bool(token.get("special") and not content.isspace())


def _prompt_format(
    spec: dict[str, Any],
    name: str,
    control: Mapping[str, int],
    end_ids: Collection[int],
    template: ChatTemplate | None,
) -> PromptFormat:
    """Return the format of a template, or else ChatML."""
    by_content = {token["content"]: token for token in spec.get("added_tokens", [])}
    if template is not None:
        from hermes_cli.prompts.template_format import TemplateFormat

        tokens = {text: _control_token(i, by_content.get(text, {})) for text, i in control.items()}
        encode = _ordinary_encode(spec, control, begins_with_text=template.begins_with_text)
        return TemplateFormat(template, encode, tokens, name, end_ids)
    # A token that strips adjacent whitespace removes the newline between turns.
    stripped = by_content.get(IM_END, {}).get("rstrip") or by_content.get(IM_START, {}).get("lstrip")
    between_turns = "" if stripped else "\n"
    return ChatML(_ordinary_encode(spec, control), control, name, between_turns, end_ids)


def _control_token(index: int, token: Mapping[str, Any]) -> ControlToken:
    flags = (bool(token.get(flag)) for flag in ("lstrip", "rstrip", "single_word"))
    return ControlToken(index, *flags)


def _ordinary_encode(
    spec: dict[str, Any], control: Mapping[str, int], *, begins_with_text: bool = False
) -> Encode:
    """Return a function that encodes with the ordinary tokens of a tokenizer.json, which is changed.

    The tokenizer does not recognize control tokens in text, and without a post-processor and truncation, it
    neither adds nor drops tokens. For text that follows a control token, it returns the same ids as the full
    tokenizer. If the prompt `begins_with_text`, it returns those for text at the start of a prompt.
    """
    from tokenizers import Tokenizer

    added, entries = spec.get("added_tokens", []), _model_entries(spec["model"]["vocab"])
    # The tokenizers library numbers new tokens in their order, so a control token keeps its place, under a
    # name that no text contains.
    nonce = secrets.token_hex(16)
    spec["added_tokens"] = [
        {**token, "content": f"{nonce} {token['id']}"} if token["content"] in control else token
        for token in added
        if token["content"] not in control or token["content"] not in entries
    ]
    spec.update(post_processor=None, truncation=None, padding=None)
    pre = spec.get("pre_tokenizer") or {}
    for part in pre.get("pretokenizers", [pre]):
        # "first" adds a space only at the start of a prompt, but most prompts start with a control token.
        if part.get("prepend_scheme") == "first" and not begins_with_text:
            part["prepend_scheme"] = "never"
    check_expressions(spec)
    tokenizer: Any = _guarded(Tokenizer.from_str, json.dumps(spec))
    for token in added:
        if token["content"] not in control:
            _check_id(token, tokenizer.token_to_id(token["content"]))

    def encode(text: str) -> list[int]:
        try:
            ids: list[int] = _guarded(tokenizer.encode, text, add_special_tokens=False).ids
        except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
            raise HermesError(
                f"the model's tokenizer cannot encode the text: {first_line(error)}", "shorten it"
            ) from None
        return ids

    return encode


def _guarded(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call the tokenizers library. A panic of its Rust code, a BaseException, becomes a ValueError."""
    try:
        return function(*arguments, **settings)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # it has no public name
            raise
        raise ValueError(first_line(error)) from None


def check_expressions(value: Any) -> None:
    """Check the regular expressions in a tokenizer.json.

    Raises ModelUnavailable for an expression that repeats a group which itself contains a repetition or
    alternatives, such as `(a+)+`: its time can grow exponentially with the text. No known tokenizer has one.
    """
    if isinstance(value, list):
        for item in value:
            check_expressions(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Regex" and isinstance(item, str) and _repeats_repetition(item):
                raise ModelUnavailable(
                    f"the tokenizer's expression {item[:60]!r} could take very long", "choose another model"
                )
            if key != "vocab":
                check_expressions(item)


def _repeats_repetition(pattern: str) -> bool:
    """Return whether a group with a repetition or alternatives is itself repeated."""
    has_choices = [False]  # for each open group
    closed = False  # whether the previous element is a group with choices
    for element in _ELEMENT.findall(pattern):
        repetition = _REPETITION.fullmatch(element)
        if repetition and (repetition[1] is None or int(repetition[1] or _MANY) > _FEW):
            if closed:
                return True
            has_choices[-1] = True
        elif element == "|":
            has_choices[-1] = True
        closed = False
        if element.startswith("("):
            has_choices.append(False)
        elif element == ")" and len(has_choices) > 1:
            closed = has_choices.pop()
            has_choices[-1] |= closed
    return False


def read_vocabulary(folder: Path, prompt_format: FormatChoice | None = None) -> Vocabulary:
    """Return the vocabulary of a model folder. Without `prompt_format`, the format is chosen automatically.

    Raises ModelUnavailable if no tokenizer can be read, or the format cannot be used.
    """
    path = folder / TOKENIZER
    try:
        text = read_bytes(path, MAX_BYTES).decode() if path.exists() else _convert_tokenizer(folder)
        with _without_stderr():
            choice = prompt_format or templates_of(folder).choose()
            return Vocabulary(text, _end_ids(folder), choice.template)
    except ModelUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise ModelUnavailable(
            f"the tokenizer in {folder} cannot be read: {first_line(error)}",
            "download the model again, or choose another",
        ) from None


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard what native code writes to standard error: Rust prints a message for each panic."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _convert_tokenizer(folder: Path) -> str:
    """Convert a tokenizer.model with transformers, and return the contents of its tokenizer.json."""
    if not (folder / OLDER_TOKENIZER).is_file():
        raise no_tokenizer(folder)
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
    )
    converted: str = tokenizer.backend_tokenizer.to_str()
    return converted


def _end_ids(folder: Path) -> set[int]:
    end_ids: set[int] = set()
    for name in CONFIG_FILES:
        with contextlib.suppress(ModelUnavailable):
            value = read_object(folder / name).get("eos_token_id")
            end_ids |= {i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)}
    return end_ids
