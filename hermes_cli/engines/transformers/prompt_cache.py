"""The prefix cache: saves the KV cache of a persona's prompt to a file, so that later runs skip its prefill.

A file is reused only if the model, revision, precision, library versions and token ids are the same.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch

from hermes_cli.engines.prompt_cache_dir import PromptCacheDir, prefix_key
from hermes_cli.engines.transformers.decode import Decoder
from hermes_cli.models.plan.planner import Plan

LIBRARIES = ("torch", "transformers", "bitsandbytes")


class PromptCache:
    """The cached prefixes of one loaded model."""

    def __init__(self, cache_dir: PromptCacheDir, plan: Plan) -> None:
        self._cache_dir = cache_dir
        device = plan.devices[0].partition(":")[0]
        self._model = (plan.revision, plan.precision, plan.dtype, plan.quantization, device)
        self._files = sorted(p for p in plan.path.iterdir() if p.suffix in (".safetensors", ".bin", ".json"))

    def restore(self, decoder: Decoder, ids: Sequence[int]) -> None:
        """Load the saved states of `ids`, if any, into the decoder, unless it already holds them."""
        if decoder.ids[: len(ids)] == list(ids):
            return
        key = self._key(ids)
        path = self._cache_dir.find(key)
        if path is None:
            return
        try:
            decoder.load_states(ids, _read(path, len(ids)))
        except Exception:  # noqa: BLE001 - the prefix can always be computed again
            decoder.rewind(0)
            self._cache_dir.discard(key)

    def save(self, decoder: Decoder, ids: Sequence[int]) -> None:
        """Save the states of `ids` if the decoder holds them and no file exists yet."""
        if decoder.ids[: len(ids)] != list(ids):
            return
        key = self._key(ids)
        if self._cache_dir.find(key) is None:
            with contextlib.suppress(Exception):  # a full disk or GPU must not make the answer fail
                self._write(decoder, key, len(ids))

    def _write(self, decoder: Decoder, key: str, length: int) -> None:
        states = [layer.states() for layer in decoder.cache.layers]
        tensors = {
            f"{number}.{kind}": tensor[:, :, :length].contiguous().cpu()
            for number, pair in enumerate(states)
            for kind, tensor in zip(("keys", "values"), pair, strict=True)
        }

        def write(path: Path) -> None:
            from safetensors.torch import save_file

            save_file(tensors, path)

        self._cache_dir.store(key, sum(t.nbytes for t in tensors.values()), write)

    def _key(self, ids: Sequence[int]) -> str:
        return prefix_key(self._model, self._files, LIBRARIES, list(ids))


def _read(path: Path, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    from safetensors.torch import load_file

    tensors = load_file(path)
    states = [(tensors[f"{n}.keys"], tensors[f"{n}.values"]) for n in range(len(tensors) // 2)]
    if any(tensor.shape[-2] != length for pair in states for tensor in pair):
        raise ValueError("the file holds a different number of states")
    return states
