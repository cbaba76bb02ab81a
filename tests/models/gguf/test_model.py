"""The GGUF reader agrees with ggml's own package and refuses damaged files."""

import contextlib
import math
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.gguf.header import STRING, RawArray, Value
from hermes_cli.models.gguf.model import GgufHeader, read_header
from hermes_cli.models.gguf.types import FILE_TYPES, TENSOR_TYPES
from hermes_cli.prompts.chat_template import ChatTemplate
from tests.gguf_models import write_openhermes_gguf
from tests.models.conftest import MakeGguf
from tests.models.gguf.small_gguf import TOKENS, TYPES, write_small


@pytest.fixture(scope="module")
def small_bytes() -> bytes:
    """The bytes of one small valid file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.gguf"
        write_small(path)
        return path.read_bytes()


def test_a_file_of_ggmls_own_writer_is_read(make_gguf: MakeGguf) -> None:
    """The header has the values that ggml's writer wrote."""
    header = read_header(make_gguf("a.gguf"))
    assert (header.architecture, header.name) == ("llama", "Small")
    assert (header.context_length, header.block_count, header.embedding_length) == (1024, 2, 32)
    assert (header.head_count, header.key_length, header.value_length) == (4, 8, 8)
    assert (header.file_type, len(header.tensors), header.parameter_count) == ("Q4_1", 2, 2048)
    assert (header.tokenizer_model, header.tokenizer_pre) == ("gpt2", "smollm")
    assert header.metadata["tokenizer.ggml.eos_token_id"] == 6
    assert header.metadata["tokenizer.chat_template"] == "{{ messages }}"
    assert (header.tokens, header.token_types) == (TOKENS, TYPES)
    assert header.file_size == header.path.stat().st_size


def test_our_reader_agrees_with_ggmls_reader(make_gguf: MakeGguf) -> None:
    """Our reader and the `gguf` package find the same tensors and keys in a file."""
    path = make_gguf()
    ours, theirs = read_header(path), gguf.GGUFReader(str(path))
    assert [t.name for t in ours.tensors] == [t.name for t in theirs.tensors]
    assert [t.elements for t in ours.tensors] == [int(t.n_elements) for t in theirs.tensors]
    assert [t.size for t in ours.tensors] == [int(t.n_bytes) for t in theirs.tensors]
    assert [t.type_name for t in ours.tensors] == [t.tensor_type.name for t in theirs.tensors]
    assert set(ours.metadata) == {k for k in theirs.fields if not k.startswith("GGUF.")}


def test_our_type_tables_agree_with_ggmls() -> None:
    """Our tables of sizes and names are the same as ggml's."""
    sizes = gguf.GGML_QUANT_SIZES
    assert {k: (n, b, s) for k, (n, b, s) in TENSOR_TYPES.items() if k in sizes} == {
        t.value: (t.name, *sizes[t]) for t in sizes if t.value in TENSOR_TYPES
    }
    theirs = {t.value: t.name for t in gguf.LlamaFileType}
    ours = {k: v for k, v in FILE_TYPES.items() if k in theirs}
    assert ours == {
        k: theirs[k].removeprefix("MOSTLY_").removeprefix("ALL_").removesuffix("_MOE") for k in ours
    }


def test_control_tokens_are_found_by_type_and_form(make_gguf: MakeGguf) -> None:
    """Control tokens are found by type and form; a user-defined run of blanks is not one."""
    header = read_header(make_gguf())
    assert header.control_tokens == {
        "<|im_start|>": 5,
        "<|im_end|>": 6,
        "<tool_call>": 7,
        "[INST]": 8,
        "<|endoftext|>": 9,
    }
    assert header.chatml_problem is None


@pytest.mark.parametrize(
    "text", ["  ", "\n\n", "<", "<>", "[]", "[[", "<a b>", "->", "</", "<<>>", "[ x ]", "\t"]
)
def test_user_defined_text_is_not_a_control_token(make_gguf: MakeGguf, text: str) -> None:
    """A user-defined token without the form of a control token is ordinary text."""
    header = read_header(make_gguf(tokens=["a", text], types=[1, 4]))
    assert header.control_tokens == {}
    assert header.chatml_problem is not None


def test_chatml_tokens_may_have_the_ordinary_type(make_gguf: MakeGguf) -> None:
    """The ChatML tokens may be typed as ordinary, as in old conversions of OpenHermes 2."""
    header = read_header(make_gguf(tokens=["a", "<|im_end|>", "<|im_start|>"], types=[1, 1, 1]))
    assert header.control_tokens == {"<|im_end|>": 1, "<|im_start|>": 2}


@pytest.mark.parametrize(
    ("name", "architecture", "tokenizer", "stripping"),
    [
        ("Phi 3 Mini 4k Instruct", "phi3", "llama", {"<|end|>", "<|user|>"}),
        ("Phi-3.5-mini", "llama", "llama", {"<|end|>", "<|user|>"}),
        ("Phi 4", "phi3", "gpt2", set()),
        ("Mistral", "llama", "llama", set()),
    ],
)
def test_the_control_tokens_of_phi_3_remove_whitespace(
    name: str, architecture: str, tokenizer: str, stripping: set[str]
) -> None:
    """Those that have `rstrip` in Phi-3's tokenizer.json."""
    tokens = [b"<s>", b"<|endoftext|>", b"<|end|>", b"<|user|>"]
    texts = b"".join(struct.pack("<Q", len(token)) + token for token in tokens)
    metadata: dict[str, Value] = {
        "general.name": name,
        "general.architecture": architecture,
        "tokenizer.ggml.model": tokenizer,
        "tokenizer.ggml.tokens": RawArray(STRING, len(tokens), texts),
        "tokenizer.ggml.token_type": RawArray(5, len(tokens), struct.pack("<4i", 3, 3, 3, 3)),
    }
    assert GgufHeader(Path("a.gguf"), 0, metadata, ()).rstrip_tokens == stripping


def test_the_kv_cache_takes_128_bytes_for_each_token(make_gguf: MakeGguf) -> None:
    """A token takes 128 bytes of KV cache. By hand: 2 layers x 2 heads x (8 + 8) values x 2 bytes."""
    assert read_header(make_gguf()).kv_bytes_per_token == 128


def test_kv_heads_are_counted_for_each_layer(make_gguf: MakeGguf) -> None:
    """Layers with different numbers of KV heads are counted one by one."""
    header = read_header(make_gguf(heads_kv=[4, 0]))
    assert header.kv_bytes_per_token == 4 * 16 * 2


def test_the_file_type_defaults_to_the_type_of_most_bytes(make_gguf: MakeGguf) -> None:
    """Without a file type, that of most bytes is taken. F32 has twice the bytes of F16."""
    assert read_header(make_gguf(file_type=None)).file_type == "F32"
    assert read_header(make_gguf(file_type=1024 + 15)).file_type == "Q4_K_M"


def test_the_fingerprint_depends_only_on_the_vocabulary(make_gguf: MakeGguf) -> None:
    """The fingerprint depends on the vocabulary, not on the title or the context length."""
    one = read_header(make_gguf("1.gguf", title="One")).fingerprint
    same = read_header(make_gguf("2.gguf", title="Two", context=99)).fingerprint
    other = read_header(make_gguf("3.gguf", tokens=[*TOKENS[:-1], "z"])).fingerprint
    assert one == same != other
    assert len(one) == 16


def test_a_truncated_file_is_refused(make_gguf: MakeGguf) -> None:
    """A truncated file is refused with its size and the expected size."""
    path = make_gguf()
    size = path.stat().st_size
    os.truncate(path, size - 100)
    with pytest.raises(
        ModelUnavailable, match=f"truncated: it has {size - 100:,} bytes of {size:,}"
    ) as caught:
        read_header(path)
    assert "download it again" in caught.value.hint


def _header(version: int = 3, tensors: int = 0, keys: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def _key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a GGUF file"),
        (b"GGU", "is not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "is not a GGUF file"),
        (b"GGUF", "ends in the middle"),
        (_header(1), "version 1"),
        (_header(4), "version 4"),
        (_header(3 << 24), "big-endian"),
        (_header(tensors=1 << 60), "declares 1,1"),
        (_header(keys=1 << 60), "declares 1,1"),
        (_header(keys=1, rest=struct.pack("<Q", 1 << 62)), "a metadata key of"),
        (_header(keys=1, rest=_key(b"a\0b", 4, bytes(4))), "NUL"),
        (_header(keys=1, rest=_key(b"\xff", 4, bytes(4))), "not UTF-8"),
        (_header(keys=1, rest=_key(b"a", 77, bytes(4))), "unknown type 77"),
        (_header(keys=1, rest=_key(b"a", 8, struct.pack("<Q", 1 << 63))), "ends in the middle"),
        (_header(keys=1, rest=_key(b"a", 9, struct.pack("<IQ", 4, 1 << 61))), "an array of"),
        (_header(keys=1, rest=_key(b"a", 9, struct.pack("<IQ", 8, 1 << 22))), "ends in the middle"),
        (_header(keys=1, rest=_key(b"a", 9, struct.pack("<IQ", 9, 1))), "array of type 9"),
        (_header(keys=2, rest=_key(b"a", 0, b"1") * 2), "twice"),
        (_header(keys=1, rest=_key(b"a", 0, b"1")), "does not name the architecture"),
        (_header(keys=1, rest=_key(b"general.architecture", 4, bytes(4))), "does not name the architecture"),
        (_header(keys=1, rest=_key(b"general.alignment", 4, bytes(4))), "alignment of 0"),
    ],
)
def test_an_invalid_gguf_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is not a valid GGUF is refused with its reason."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=message):
        read_header(path)


def _tensor(shape: tuple[int, ...], kind: int, offset: int = 0) -> bytes:
    return struct.pack("<Q", 1) + b"t" + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_tensor((1 << 63, 1 << 63), 0), "impossible size"),
        (_tensor((32,), 0, 1 << 62), "impossible size"),
        (_tensor((33,), 3), "not a multiple of 32"),
        (_tensor((1,) * 9, 0), "9 dimensions"),
        (_tensor((32, 0), 0), "a tensor without elements"),
        (_tensor((1 << 20,), 0), "truncated"),
    ],
)
def test_an_impossible_tensor_is_refused(tmp_path: Path, tensor: bytes, message: str) -> None:
    """A tensor with an impossible size, shape or place is refused with its reason."""
    name = _key(b"general.architecture", 8, struct.pack("<Q", 5) + b"llama")
    path = tmp_path / "bad.gguf"
    path.write_bytes(_header(tensors=1, keys=1, rest=name + tensor))
    with pytest.raises(ModelUnavailable, match=message):
        read_header(path)


def test_a_folder_a_missing_file_and_a_pipe_are_refused(tmp_path: Path) -> None:
    """A folder, a missing file and a pipe are refused with their reasons."""
    os.mkfifo(tmp_path / "pipe.gguf")
    for name, message in (
        (".", "is a folder"),
        ("none.gguf", "there is no file"),
        ("pipe.gguf", "not a regular"),
    ):
        with pytest.raises(ModelUnavailable, match=message):
            read_header(tmp_path / name)


def _read_every_property(header: GgufHeader) -> None:
    """Read every property; none of them may fail on a header that was accepted."""
    for name in dir(type(header)):
        if not name.startswith("__"):
            getattr(header, name)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(small_bytes: bytes, tmp_path: Path, data: Any) -> None:
    """A damaged file gives a header or a ModelUnavailable error."""
    content = bytearray(small_bytes)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 900))
        content[at : at + 8] = data.draw(st.binary(min_size=0, max_size=12))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ModelUnavailable):
        header = read_header(path)
        _read_every_property(header)
        assert header.file_size == path.stat().st_size
        assert sum(header.layer_bytes) <= header.file_size
        assert all(header.tokens[i] == token for token, i in header.control_tokens.items())
        assert all(0 <= i < header.vocabulary_size for i in header.end_ids)


def test_a_file_truncated_at_any_seventh_byte_is_refused(small_bytes: bytes, tmp_path: Path) -> None:
    """A file truncated at any seventh byte is refused."""
    path = tmp_path / "cut.gguf"
    for length in range(0, len(small_bytes), 7):
        path.write_bytes(small_bytes[:length])
        with pytest.raises(ModelUnavailable):
            read_header(path)


HOSTILE = {
    "block_count": (60_000, "says that it has 60,000 layers, but contains 2"),
    "attention.layer_norm_rms_epsilon": (math.nan, "has an invalid value for llama.attention.layer_norm_rms"),
    "rope.freq_base": (math.inf, "has an invalid value for llama.rope.freq_base: inf"),
    "general.alignment": (8, "stores its tensors at byte [0-9,]+, not at a multiple of 32"),
    "split.count": ("3", "has an invalid value for split.count"),
    "rope.scaling.type": ("nonsense", "has an unknown type of RoPE scaling"),
    "expert_count": (4_000_000, "has an invalid number of experts: 4,000,000, of which 0 are used"),
    "expert_used_count": (2, "has an invalid number of experts: 0, of which 2 are used"),
    "context_length": (4_000_000_000, "has an invalid value for context_length"),
}
"""By the key, without its architecture: a value that makes llama.cpp abort or fail, and the error."""


def _full_key(key: str) -> str:
    return key if key in {"general.alignment", "split.count"} else f"llama.{key}"


@pytest.mark.parametrize("key", HOSTILE)
def test_metadata_that_crashes_llama_cpp_is_refused(tmp_path: Path, key: str) -> None:
    """Metadata that contradicts the tensors or is out of range is refused with a reason."""
    value, message = HOSTILE[key]
    path = write_openhermes_gguf(tmp_path / "hostile.gguf", changes={_full_key(key): value})
    with pytest.raises(ModelUnavailable, match=message):
        read_header(path)


def test_layers_that_predict_further_tokens_may_be_left_out(tmp_path: Path) -> None:
    """Files without the layers of multi-token prediction, which the metadata counts, are read."""
    changes = {"llama.block_count": 3, "llama.nextn_predict_layers": 1}
    header = read_header(write_openhermes_gguf(tmp_path / "mtp.gguf", changes=changes))
    assert header.block_count == 3


def test_the_chat_template_is_that_of_the_metadata(tmp_path: Path) -> None:
    """SentencePiece files add BOS unless they say otherwise."""
    changes: dict[str, Any] = {
        "tokenizer.chat_template": "{{ bos_token }}x",
        "tokenizer.ggml.add_bos_token": None,
    }
    template = read_header(write_openhermes_gguf(tmp_path / "a.gguf", changes=changes)).templates.default
    special = {"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>"}
    assert template == ChatTemplate("{{ bos_token }}x", special, adds_bos=True)
    changes["tokenizer.ggml.add_bos_token"] = False
    template = read_header(write_openhermes_gguf(tmp_path / "b.gguf", changes=changes)).templates.default
    assert template is not None
    assert not template.adds_bos
    assert read_header(write_openhermes_gguf(tmp_path / "c.gguf")).templates.default is None


def test_named_templates_have_their_own_keys(tmp_path: Path) -> None:
    """As gguf-py writes the list form of tokenizer_config.json."""
    changes = {"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"}
    templates = read_header(write_openhermes_gguf(tmp_path / "a.gguf", changes=changes)).templates
    assert templates.default is not None
    assert templates.default.source == "a"
    assert {name: template.source for name, template in templates.named.items()} == {"tool_use": "b"}


@pytest.mark.parametrize(
    ("model", "pre", "adds_bos"),
    [("llama", "", True), ("gpt2", "llama-bpe", True), ("gpt2", "tekken", True), ("gpt2", "qwen2", False)],
)
def test_bos_is_added_as_llama_cpp_does(tmp_path: Path, model: str, pre: str, adds_bos: bool) -> None:  # noqa: FBT001 - a parameter
    """If the file does not say so, it depends on the tokenizer; a file that says so is followed."""
    changes: dict[str, Any] = {"tokenizer.ggml.model": model, "tokenizer.ggml.pre": pre or None}
    changes["tokenizer.ggml.add_bos_token"] = None
    header = read_header(write_openhermes_gguf(tmp_path / "a.gguf", changes=changes))
    assert header.templates.adds_bos == adds_bos
    changes["tokenizer.ggml.add_bos_token"] = not adds_bos
    header = read_header(write_openhermes_gguf(tmp_path / "b.gguf", changes=changes))
    assert header.templates.adds_bos != adds_bos
