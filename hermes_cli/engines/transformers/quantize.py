"""Saving a model in the 4 bits that it was quantised to, so that the next load need not do it again."""

import dataclasses
import shutil
import tempfile
import time
from importlib import import_module
from pathlib import Path

from hermes_cli.engines.transformers.loading import Report, load_model
from hermes_cli.errors import HermesError, is_disk_full
from hermes_cli.models.download import disk_full
from hermes_cli.models.plan import Plan

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)


def quantise(plan: Plan, folder: Path, report: Report | None = None) -> tuple[float, float]:
    """Load a model as the plan says and save it, quantised, as `folder`.

    Return how many seconds the load took with the quantisation, and how many without it. The folder is there
    whole or not at all. Raises as `load_model` does, and ResourcesExhausted where the disk is full.
    """
    import_module("bitsandbytes")  # seconds that belong to neither of the two loads
    import_module("transformers").AutoModelForCausalLM  # noqa: B018 - the module fills itself when it is asked
    began = time.monotonic()
    model, _ = load_model(plan, report)
    quantising_s = time.monotonic() - began
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as place:
            new = Path(place) / folder.name
            model.save_pretrained(str(new))
            for name in TOKENIZER_FILES:
                if (plan.path / name).is_file():
                    shutil.copyfile(plan.path / name, new / name)
            del model
            saved = dataclasses.replace(plan, path=new, quantisation="")
            began = time.monotonic()
            load_model(saved)  # what cannot be loaded again is not kept
            loading_s = time.monotonic() - began
            new.replace(folder)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(plan.weight_bytes, folder.parent) from None
        raise HermesError(f"{folder} cannot be written: {error.strerror or error}") from None
    return quantising_s, loading_s
