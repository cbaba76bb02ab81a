"""Tests of the benchmark rows of the transformers engine and of a GPU: their gates, and a small run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.measure import Repeats, text_fault
from benchmarks.rows import decode_transformers, first_token, prefix_reuse
from benchmarks.weights import unlikely
from tests.test_benchmarks import child, turn, written


def test_what_a_torch_engine_prefills_is_counted_from_outside() -> None:
    """Prefilled ids are counted by the embedding's look-ups, and a count that disagrees is reported."""
    talk = [
        turn([1, 2, 3], [4, 5], cached=0, looked_up=3 + 1),
        turn([1, 2, 3, 4, 5, 6], [7, 8], cached=4, ended=True, looked_up=2 + 2),
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 9], cached=8, finish_reason="cancelled", looked_up=1 + 1),
        turn([1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 2], [9], cached=10, looked_up=2),
    ]
    first, *_ = prefix_reuse.lines_transformers(talk, [])
    assert (first.hermes, first.peer, first.verdict) == (4, 4, "yes")
    lost = [*talk[:3], {**talk[3], "prefilled": 12, "looked_up": 12}]
    assert prefix_reuse.lines_transformers(lost, [])[0].verdict == "no"
    boasting = [*talk[:3], {**talk[3], "looked_up": 12}]
    assert "the engine reports" in prefix_reuse.lines_transformers(boasting, [])[0].wrong


def test_another_answer_or_a_window_never_left_is_found() -> None:
    """Another answer than without reuse fails, and so does a conversation shorter than the window."""
    talk = [turn([1, 2, 3], [4, 5], cached=0, looked_up=4)]
    for gap, verdict in ((0.0001, "yes"), (0.01, "FAILED")):
        assert prefix_reuse.lines_transformers(talk, [[0.0, gap]])[0].verdict == verdict
    assert "windows" in prefix_reuse.lines_transformers(talk, [], window=64)[0].wrong


def test_ids_that_the_library_would_not_say_are_found() -> None:
    """Ids that the library scores as unlikely, or NaN, are reported with answer and token."""
    assert unlikely([[0.0, 0.125], []], "bfloat16") == ""
    assert "answer 2, token 1" in unlikely([[0.0], [0.5]], "bfloat16")
    assert unlikely([[0.125]], "float32") != ""
    assert unlikely([[float("nan")]], "bfloat16") != ""


def test_the_score_is_the_librarys_own() -> None:
    """The score of the model's own greedy ids is accepted, and that of one changed id is not."""
    from transformers import MistralConfig, MistralForCausalLM

    from benchmarks.peers.torch_model import gaps

    torch.manual_seed(1)
    size = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.5}
    config: Any = MistralConfig
    make: Any = MistralForCausalLM
    model = make(config(**size, **heads, eos_token_id=2)).eval()
    prompt, ids = [5, 6, 7], list[int]()
    for _ in range(6):
        ids.append(int(model(torch.tensor([prompt + ids])).logits[0, -1].argmax()))
    asked: dict[str, Any] = {"prompt": prompt, "ids": ids, "ended": False}
    right, spoilt = gaps(model, **asked), gaps(model, **{**asked, "ids": [*ids[:5], (ids[5] + 1) % 97]})
    ended = gaps(model, **{**asked, "ended": True})
    assert unlikely([right], "float32") == ""
    assert (spoilt[:5], ended[:6]) == (right[:5], right)
    assert min(spoilt[5], ended[6]) > 0.01
    assert gaps(model, **{**asked, "ids": []}) == []


def test_worse_answers_of_eight_bits_are_found() -> None:
    """8-bit weights with a larger divergence or perplexity are reported."""
    read = {"fp32": (0.0, 50.0), "8bit": (0.01, 50.2), "4bit": (0.3, 60.0)}
    good = {how: {"kl": kl, "perplexity": perplexity} for how, (kl, perplexity) in read.items()}
    assert decode_transformers.quality_fault(good) == ""
    assert decode_transformers.quality_fault({**good, "8bit": {"kl": 0.04, "perplexity": 50.2}}) != ""
    assert decode_transformers.quality_fault({**good, "8bit": {"kl": 0.01, "perplexity": 51.1}}) != ""


def test_an_answer_that_ends_early_or_wavers_is_found() -> None:
    """A short answer, a repeat with another text and a failed process are reported."""
    assert (
        decode_transformers.length_fault([1] * decode_transformers.TOKENS, [2] * decode_transformers.TOKENS)
        == ""
    )
    assert (
        decode_transformers.length_fault(
            [1] * decode_transformers.TOKENS, [2] * (decode_transformers.TOKENS - 1)
        )
        != ""
    )
    assert text_fault([child(b"Hi.")] * 2) == ""
    assert text_fault([child(b"Hi."), child(b"Ho.")]) != ""
    assert text_fault([child(b"Hi."), child(b"Hi.", code=1)]) != ""


def test_first_tokens_are_compared_between_turns_that_are_alike() -> None:
    """First tokens are compared between turns of equal length, and other answers are reported."""

    def record(number: int, seconds: float, prefilled: int = 9, first: int = 5) -> dict[str, Any]:
        about = {"turn": number, "prompt": [number], "first_s": seconds}
        return {**about, "generated": [first], "prefilled": prefilled}

    ours, slow = [record(2, 0.1), record(20, 0.11)], [record(2, 0.3), record(20, 9)]
    runs = Repeats({"hermes": [ours], "generate": [slow], "llama.cpp": [slow]}, [])
    assert [line.verdict for line in first_token.lines(runs, "")] == ["yes", "-", "-", "yes", "-"]
    assert first_token.lines(runs, "another first token")[0].verdict == "FAILED"
    assert first_token.gate([ours, ours], [[0.0], [0.1]]) == ""
    assert "equally long" in first_token.gate([ours, [ours[0], record(20, 0.11, prefilled=8)]], [])
    assert "first ids" in first_token.gate([ours, [ours[0], record(20, 0.11, first=7)]], [])
    assert "less likely" in first_token.gate([ours], [[0.0], [2.0]])


def test_without_a_gpu_the_gpu_rows_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a usable GPU the program ends with exit code 69 and one line that suggests the CPU."""
    for device in ("cuda:99", "nonsense"):
        assert gpu.main(["--device", device]) == 69
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "cpu" in said


@pytest.mark.long
def test_the_gpu_rows_run_dry(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All GPU rows run on the CPU as a dry run, which gives no verdicts."""
    assert gpu.main(["--quick", "--profile", "--device", "cpu"], tmp_path) == 0
    said = capsys.readouterr().out
    assert said.count("Self CPU %") == 3  # after two prompts, and with NF4
    assert gpu.DRY_RUN in said
    record = written(tmp_path)
    rows = [line["row"] for line in record["lines"]]
    assert rows == ["gpu-decode"] * 6 + ["gpu-first-token"] * 4 + ["gpu-decode-4bit"] * 2 + ["gpu-load-4bit"]
    assert {line["verdict"] for line in record["lines"]} == {"-"}
    assert record["versions"]["bitsandbytes"]


@pytest.mark.long
def test_the_variants_of_the_decode_loop_run_dry(tmp_path: Path) -> None:
    """Every variant runs on the CPU, or is skipped with a reason, and the model's classes are unchanged."""
    modeling = pytest.importorskip("transformers.models.mistral.modeling_mistral")
    mapping = pytest.importorskip("transformers.modeling_utils").ALL_ATTENTION_FUNCTIONS

    def changeable() -> list[Any]:
        kinds = modeling.MistralDecoderLayer, modeling.MistralRMSNorm, modeling.MistralMLP
        return [*(kind.forward for kind in kinds), modeling.apply_rotary_pos_emb, mapping["sdpa"]]

    before = changeable()
    assert gpu.main(["--variants", "--quick", "--device", "cpu"], tmp_path) == 0
    assert changeable() == before
    lines = written(tmp_path)["lines"]
    assert [line["row"] for line in lines] == (["gpu-compile"] * 2 + ["gpu-attention"] * 6) * 2 + [
        "gpu-nf4"
    ] * 2
    skipped = [line["measure"] for line in lines if line["skipped"]]
    assert all(any(name in one for name in ("cuDNN", "efficient", "by length", "double")) for one in skipped)


def test_a_variant_with_other_logits_fails_its_gate(tmp_path: Path) -> None:
    """Attention with another scale is reported as wrong, not as a kernel that float32 lacks."""
    rows, variants = (pytest.importorskip(f"benchmarks.gpu.{name}") for name in ("rows", "variants"))
    run = rows.Run(torch.device("cpu"), tmp_path, profiled=False)
    dtypes = torch.float32, torch.bfloat16
    small = [variants.random_model(variants.SMALL, run.device, dtype) for dtype in dtypes]
    other = variants.attention(lambda *states_and_mask: variants._matrix_products(*states_and_mask[:4], 0.3))
    assert "logits differ" in variants._gate(run, small, other, []).wrong
    assert "list of ids" in variants._gate(run, small, variants.attention(variants._sdpa), []).wrong


def test_the_gates_of_the_gpu_rows_can_fail() -> None:
    """Repeats of a side with other ids than its first are reported."""
    rows = pytest.importorskip("benchmarks.gpu.rows")
    sides = pytest.importorskip("benchmarks.gpu.sides")
    right, other = (sides.Decoded(ids, [1.0, 2.0]) for ids in ([1, 2], [1, 3]))
    assert rows.unsteady(Repeats({"hermes": [right, right], "eager": [other]}, [])) == ""
    assert rows.unsteady(Repeats({"hermes": [right, other]}, [])) != ""
