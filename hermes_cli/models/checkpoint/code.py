"""Rejects models whose settings files make transformers run custom code.

hermes never runs a model's code: `trust_remote_code` is always off. The keys are rejected in addition,
because some releases of transformers followed them regardless (CVE-2026-4372), and because an attention
implementation that is spelled owner/name is downloaded from the hub as a kernel and run.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hermes_cli.errors import ModelUnavailable

CODE_KEYS = ("auto_map", "custom_pipelines")
IMPLEMENTATION_KEYS = ("attn_implementation", "experts_implementation")
OWN_IMPLEMENTATIONS = ("eager", "sdpa", "flash_attention_2", "flex_attention")
"""The implementations that are part of transformers."""
OTHER_WEIGHTS_KEY = "transformers_weights"
ADVICE = "choose a model that transformers knows by itself, such as openhermes-2"


def refuse_code(files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ModelUnavailable if a key at any depth of a model's settings files requests custom code."""
    for name, settings in files.items():
        for key, value in _entries(settings):
            if key in CODE_KEYS and value:
                raise _refusal(key, name, "asks for code of the model's own")
            if any(part in key.lower() for part in IMPLEMENTATION_KEYS) and not _is_own(value):
                raise _refusal(key, name, "asks for an implementation that would be fetched and run")
            if key == OTHER_WEIGHTS_KEY and value:
                raise _refusal(key, name, "names weights other than the usual ones")


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key and value of an object and of all objects in it, without recursion."""
    waiting: list[Any] = [settings]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _is_own(value: Any) -> bool:
    """Return whether an implementation, or each one in a mapping by model part, is part of transformers."""
    parts = value.values() if isinstance(value, Mapping) else (value,)
    return all(part is None or part in OWN_IMPLEMENTATIONS for part in parts)


def _refusal(key: str, name: str, what: str) -> ModelUnavailable:
    return ModelUnavailable(f"the key {key[:60]!r} of its {name} {what}, which hermes never runs", ADVICE)
