"""Quantizes a model to 4 bits and saves it, so that later loads are faster."""

import dataclasses
import shutil
import tempfile
import time
from importlib import import_module
from pathlib import Path

from hermes_cli.engines.transformers.loading import Report, load_model
from hermes_cli.errors import HermesError, is_disk_full
from hermes_cli.models.download import disk_full
from hermes_cli.models.plan.planner import Plan
from hermes_cli.private_files import create_folders

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
)


def quantize(plan: Plan, folder: Path, report: Report | None = None) -> tuple[float, float]:
    """Load and quantize the model of a plan, and save it in `folder`, which is created atomically.

    Return how many seconds it took to load and quantize the model, and to load the saved model. Raises the
    errors of `load_model`, ResourcesExhausted if the disk is full, and HermesError for other disk errors.
    """
    import_module("bitsandbytes")  # slow imports, which neither time includes
    import_module("transformers").AutoModelForCausalLM  # noqa: B018 - the module imports its attributes on access
    began = time.monotonic()
    model, _ = load_model(plan, report)
    quantizing_s = time.monotonic() - began
    try:
        create_folders(folder.parent)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
            new = Path(temporary) / folder.name
            model.save_pretrained(str(new))
            for name in TOKENIZER_FILES:
                if (plan.path / name).is_file():
                    shutil.copyfile(plan.path / name, new / name)
            del model
            saved = dataclasses.replace(plan, path=new, quantization="")
            began = time.monotonic()
            load_model(saved)  # verifies the saved model, too
            loading_s = time.monotonic() - began
            new.replace(folder)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(plan.weight_bytes, folder.parent) from None
        raise HermesError(f"{folder} cannot be written: {error.strerror or error}") from None
    return quantizing_s, loading_s
