"""The prefix cache of the llama.cpp engine: files with the states of personas' prompts, for later runs.

llama.cpp reads and writes the files itself. A file is reused only if the model's file, the type of the KV
cache, the library version and the token ids are the same.
"""

import contextlib
import secrets
from dataclasses import replace
from pathlib import Path

from hermes_cli.engines.llama_cpp.settings import LlamaSettings
from hermes_cli.engines.llama_cpp.subprocess_server import LlamaProcess
from hermes_cli.engines.prompt_cache_dir import (
    LLAMA_STATES,
    UNFINISHED,
    PromptCacheDir,
    prefix_key,
)
from hermes_cli.errors import HermesError

LIBRARIES = ("xllamacpp",)


class PromptCache:
    """The cached prefixes of one loaded model. `token_bytes` is the size of the states of one token."""

    def __init__(self, cache_dir: PromptCacheDir, settings: LlamaSettings, token_bytes: int) -> None:
        self._cache_dir = replace(cache_dir, suffix=LLAMA_STATES)
        self._settings = settings
        self._token_bytes = token_bytes

    def restore(self, server: LlamaProcess, ids: list[int]) -> bool:
        """Load the saved states of `ids` into the KV cache. Return whether a usable file was found."""
        key = self._key(ids)
        path = self._cache_dir.find(key)
        if path is None:
            return False
        try:
            if server.restore_states(path.name) == len(ids):
                return True
        except HermesError:  # also a crash: the file is deleted before the model is loaded again
            pass
        self._cache_dir.discard(key)
        return False

    def save(self, server: LlamaProcess, ids: list[int]) -> None:
        """Save the states of the KV cache, which must be those of `ids`."""
        folder = self._cache_dir.folder

        def write(path: Path) -> None:
            draft = folder / f"{UNFINISHED}{secrets.token_hex(8)}"
            try:
                if server.save_states(draft.name) != len(ids):
                    raise OSError("the KV cache holds other ids")
                draft.replace(path)
            finally:
                with contextlib.suppress(OSError):
                    draft.unlink()

        with contextlib.suppress(HermesError):
            self._cache_dir.store(self._key(ids), len(ids) * self._token_bytes, write)

    def _key(self, ids: list[int]) -> str:
        return prefix_key((self._settings.kv_type,), [Path(self._settings.path)], LIBRARIES, ids)
