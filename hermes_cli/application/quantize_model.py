"""`hermes models quantize`: save a model in 4 bits, and report the load times before and after."""

from dataclasses import dataclass
from pathlib import Path

from hermes_cli.application.open_model import choose_model
from hermes_cli.application.runtime import Runtime
from hermes_cli.errors import UsageError
from hermes_cli.models import requirements
from hermes_cli.models.download import require_space, size_text
from hermes_cli.models.plan import PlanRequest
from hermes_cli.screen.progress import loading
from hermes_cli.screen.sanitize import sanitize_line


@dataclass(frozen=True, slots=True)
class Quantized:
    """A saved model: its name for -m, its size in bytes, and the seconds of a load before and after."""

    name: str
    size: int
    before_s: float
    now_s: float

    @property
    def summary(self) -> str:
        """The size and the load times, as a message for the user."""
        return (
            f"{sanitize_line(self.name)}: {size_text(self.size)} in 4-bit NF4; its weights load in "
            f"{self.now_s:.1f} s, where quantizing them took {self.before_s:.1f} s "
            f"({self.now_s / self.before_s:.2f}x)"
        )


def quantize(runtime: Runtime, name: str, output: Path | None, device: str | None) -> Quantized:
    """Quantize a model to NF4 and save it.

    Raises UsageError if the model has no 16-bit weights or the folder exists already, and any error of
    loading the model.
    """
    choice = choose_model(runtime, name, PlanRequest(precision="4bit", device=device))
    plan, model = choice.plan, choice.selection.model
    if plan is None or model is None or plan.quantization != "nf4":
        what = plan.precision if plan else "a script"
        raise UsageError(f"{name} is {what}: there is nothing to quantize", "name a model in 16 bits")
    requirements.check(plan, model.facts)
    folder = output or runtime.paths.models / f"{_file_name(plan.model)}-nf4"
    if folder.exists():
        raise UsageError(f"{folder} is there already", "remove it, or name another with -o")
    require_space(plan.weight_bytes, folder.parent)
    with loading(runtime.terminal, plan.model) as report:
        from hermes_cli.engines.transformers.quantize import quantize as save  # noqa: PLC0415 - loads torch

        before_s, now_s = save(plan, folder, report)
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Quantized(str(folder) if output else folder.name, size, before_s, now_s)


def _file_name(model: str) -> str:
    """Return a model's name as a file name, without the repository's owner and the suffix `:16bit`."""
    return model.rpartition("/")[2].removesuffix(":16bit").replace(":", "-")
