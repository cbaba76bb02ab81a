"""Lists every way to run Hugging Face weights on this machine, and chooses the best one that fits."""

from dataclasses import dataclass

from hermes_cli.errors import HermesError, ModelUnavailable, UsageError
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.gpus import Gpu
from hermes_cli.models.hardware import Hardware
from hermes_cli.models.plan import devices, precision
from hermes_cli.models.plan.devices import Place
from hermes_cli.models.plan.memory import Candidate, weigh
from hermes_cli.models.plan.plan import (
    COMFORTABLE_CONTEXT,
    MIN_CONTEXT,
    PlanRequest,
    check_context,
    context_target,
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The ways from the best to the smallest, and the chosen one, or None if none fits.

    Context sizes are in tokens. `target` is the desired size. Below `comfortable`, a lower precision with
    more context is better. Below `least`, the model does not fit. `asked_precision` and `asked_device` are
    the requested values, or `auto`.
    """

    ways: tuple[Candidate, ...]
    chosen: Candidate | None
    target: int
    comfortable: int
    least: int
    asked_precision: str
    asked_device: str


def find_candidates(hardware: Hardware, model: ModelFacts, request: PlanRequest) -> Candidates:
    """Evaluate every way to run `model` that `request` allows.

    Raises UsageError if a request is impossible on this machine, and ModelUnavailable if no GPU here supports
    the quantization of the weights.
    """
    check_context(model, request.context_size)
    word = precision.check_word(request.precision)
    device = devices.check_word(request.device)
    if model.format.is_quantized:
        precision.check_own(model, word)
    target = context_target(model, request.context_size)
    wished = request.context_size is not None
    comfortable = target if wished else min(target, COMFORTABLE_CONTEXT)
    groups = devices.gpu_groups(hardware, device)
    ways: list[Candidate] = []
    for way_word in precision.words_to_try(model, word, on_cpu=not groups):
        if not groups:
            ways.append(_on_cpu(hardware, model, way_word, target))
        for cards in groups:
            ways += _on_cards(model, way_word, cards, target, comfortable, exact=devices.is_exact(device))
    if not ways:
        raise _impossible(model, word, next(gpu for cards in groups for gpu in cards))
    least = target if wished else min(target, MIN_CONTEXT)
    chosen = _pick(ways, comfortable, least)
    return Candidates(tuple(ways), chosen, target, comfortable, least, word, device)


def eight_bit(model: ModelFacts, found: Candidates) -> Candidate | None:
    """Return the 8-bit way on the same GPUs, for comparison only: `auto` never chooses it."""
    place = (found.chosen or found.ways[0]).place
    if not place.gpus or any(precision.problem("8bit", gpu) for gpu in place.gpus):
        return None
    return weigh(model, precision.meant(model, "8bit", place.gpus), place, found.target)


def _impossible(model: ModelFacts, word: str, gpu: Gpu) -> HermesError:
    """Return the error for a precision that no GPU here supports."""
    why = precision.problem(precision.word_for_format(model, word), gpu)
    if word == precision.AUTO:
        return ModelUnavailable(
            f"{model.name} is {model.precision}: {why}", "'--device cpu' runs it on the processor, slowly"
        )
    hint = (
        "'--precision 16bit' takes the 16-bit type that the card has" if word == "bf16" else "ask for 16bit"
    )
    return UsageError(f"{model.name} cannot be run in {word}: {why}", hint)


def _on_cpu(hardware: Hardware, model: ModelFacts, word: str, target: int) -> Candidate:
    return weigh(model, precision.meant(model, word, ()), devices.cpu_place(hardware), target)


def _on_cards(
    model: ModelFacts, word: str, cards: list[Gpu], target: int, comfortable: int, *, exact: bool
) -> list[Candidate]:
    """Return the ways in one precision on GPUs of a kind: the one with the most free memory, then several."""
    asked = precision.word_for_format(model, word)
    able = [gpu for gpu in cards if not precision.problem(asked, gpu)]
    if not able or (exact and len(able) < len(cards)):
        return []

    def over(chosen: list[Gpu]) -> Candidate:
        place: Place = devices.place_of(chosen)
        return weigh(model, precision.meant(model, word, place.gpus), place, target)

    if exact:
        return [over(able)]
    ways = [over(able[:1])]
    for count in range(2, len(able) + 1):  # use no more GPUs than needed
        several = over(able[:count])
        if several.room >= comfortable or count == len(able):
            return [*ways, several]
    return ways


def _pick(ways: list[Candidate], comfortable: int, least: int) -> Candidate | None:
    """Return the first way with a comfortable context, else the one with the longest, or None."""
    for way in ways:
        if way.room >= comfortable:
            return way
    roomiest = max(ways, key=lambda way: way.room)
    return roomiest if roomiest.room >= least else None
