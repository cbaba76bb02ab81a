"""The difference between the planned placement of the layers and the loaded one."""

import pytest

from hermes_cli.placement import Placement, difference

CPU = Placement((), 0, 33)
GPU = Placement(("CUDA0",), 27, 33)
TWO = Placement(("CUDA0", "CUDA1"), 33, 33)


@pytest.mark.parametrize(
    ("placement", "text"),
    [
        (CPU, "all layers on the CPU"),
        (GPU, "27 of 33 layers on CUDA0"),
        (TWO, "33 of 33 layers on CUDA0 and CUDA1"),
        (Placement((), 5, 33), "5 of 33 layers on a GPU"),
    ],
)
def test_the_text_names_the_layers_and_the_devices(placement: Placement, text: str) -> None:
    """The text names the number of layers and the devices."""
    assert placement.text == text


@pytest.mark.parametrize(
    ("planned", "loaded"),
    [
        (CPU, CPU),
        (CPU, Placement((), 0, 31)),
        (GPU, GPU),
        (GPU, Placement((), 27, 33)),  # the engine does not report the devices
        (TWO, Placement(("CUDA1", "CUDA0"), 33, 33)),
        (GPU, None),
    ],
)
def test_a_model_that_was_loaded_as_planned_has_no_difference(
    planned: Placement, loaded: Placement | None
) -> None:
    """There is no difference if the engine reports the plan, or reports nothing."""
    assert difference(planned, loaded) == ""


@pytest.mark.parametrize(
    ("planned", "loaded", "text"),
    [
        (CPU, GPU, "the plan was all layers on the CPU, but the engine loaded 27 of 33 layers on CUDA0"),
        (GPU, CPU, "the plan was 27 of 33 layers on CUDA0, but the engine loaded all layers on the CPU"),
        (
            GPU,
            Placement(("Vulkan0",), 27, 33),
            "the plan was 27 of 33 layers on CUDA0, but the engine loaded 27 of 33 layers on Vulkan0",
        ),
        (
            TWO,
            Placement(("CUDA0",), 33, 33),
            "the plan was 33 of 33 layers on CUDA0 and CUDA1, but the engine loaded 33 of 33 layers on CUDA0",
        ),
    ],
)
def test_another_number_of_layers_or_device_is_a_difference(
    planned: Placement, loaded: Placement, text: str
) -> None:
    """Another number of layers, or another device, is stated in a sentence."""
    assert difference(planned, loaded) == text
