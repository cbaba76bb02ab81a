"""What there is to say about one model on this machine, for a person to read."""

from pathlib import Path

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models import select
from hermes_cli.models.download import size_text
from hermes_cli.models.local import InstalledModel
from hermes_cli.models.reference import parse


def installed_model(name: str, models_dir: Path) -> InstalledModel:
    """Return the model of that name on this machine. Raises ModelUnavailable where it is not here."""
    ref = parse(name, models_dir=models_dir)
    model = select.find(ref, models_dir)
    if model is None:
        raise ModelUnavailable(
            f"{ref.name} is not on this machine", f"'hermes models pull {ref.name}' fetches it"
        )
    return model


def facts(model: InstalledModel) -> list[tuple[str, str]]:
    """Return rows of a label and a value. A broken model says what is wrong with it."""
    rows = [
        ("name", model.name),
        ("file", str(model.path)),
        ("size", f"{size_text(model.size)} ({model.size:,} bytes)"),
        ("format", f"{model.format.value} {model.precision}".rstrip()),
        ("broken", model.broken or ""),
        ("from", model.repo or model.source.value),
    ]
    header = model.header
    if header is not None:
        control = header.control_tokens
        rows += [
            ("calls itself", header.name),
            ("architecture", header.architecture),
            ("parameters", f"{header.parameter_count:,}"),
            ("context", f"{header.context_length:,} tokens"),
            ("KV cache", f"{header.kv_bytes_per_token / 1024:g} KiB a token"),
            ("layers", f"{header.block_count}"),
            (
                "vocabulary",
                f"{len(header.tokens):,} tokens, {header.tokenizer_model} {header.tokenizer_pre}".rstrip(),
            ),
            ("ChatML", "yes" if header.is_chatml else "no: it has no <|im_start|> and <|im_end|>"),
            ("control tokens", " ".join(f"{text}={i}" for text, i in list(control.items())[:8])),
        ]
    return [row for row in rows if row[1]]
