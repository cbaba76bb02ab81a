"""Status text about an answer: the progress of the prefill, and the token rates at the end."""

from hermes_cli.engines.base import Completion, FinishReason, Progress


def wait_text(progress: Progress | None) -> str:
    """Return the status before the first token, with the progress of the prefill."""
    if progress is None or progress.done >= progress.total:
        return "waiting for the first token"
    return f"reading the prompt: {progress.done:,} of {progress.total:,} tokens"


def statistics(done: Completion) -> str:
    """Return the token counts, times and rates of the prefill and the decode of an answer."""
    usage, timings = done.usage, done.timings
    if done.finish_reason is FinishReason.CANCELLED and not usage.completion_tokens:
        return f"stopped before the first token, after {timings.prefill_s:.2f} s"
    cached = f", {usage.cached_tokens:,} more from the cache" if usage.cached_tokens else ""
    # The prefill produces the first token; decode_s covers the tokens after it.
    decoded = max(0, usage.completion_tokens - 1)
    return (
        f"prefill {_rate(usage.prefilled_tokens, timings.prefill_s)}{cached} · "
        f"decode {_rate(decoded, timings.decode_s)}"
        + (f", {usage.reasoning_tokens:,} of them reasoning" if usage.reasoning_tokens else "")
        + (f", without CUDA graphs: {done.no_graphs_reason}" if done.no_graphs_reason else "")
    )


def _rate(tokens: int, seconds: float) -> str:
    text = f"{tokens:,} token{'' if tokens == 1 else 's'} in {seconds:.2f} s"
    return f"{text}, {tokens / seconds:.1f} tok/s" if tokens and seconds > 0 else text
