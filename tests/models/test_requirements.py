"""The packages that a plan needs, and the message if one is missing."""

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models import requirements
from hermes_cli.models.catalogue import WeightFormat
from hermes_cli.models.facts import ModelFacts
from hermes_cli.models.plan.planner import Plan, choose
from hermes_cli.models.plan.request import PlanRequest
from hermes_cli.models.requirements import Finder, check, find_package, packages
from tests.models.plan.machines import gpu, machine, openhermes

SMALL = machine(gpu("RTX 3070", 8, 7.6, (8, 6)))
SAVED = replace(openhermes("gptq"), format=WeightFormat.BITSANDBYTES, precision="4-bit nf4")
COMPRESSED = replace(openhermes("gptq"), format=WeightFormat.COMPRESSED_TENSORS)


def without(*names: str, torch: Path | None = None) -> Finder:
    """Return a finder of all packages except some; `torch` is the folder of torch's files."""

    def find(name: str) -> ModuleSpec | None:
        origin = str(torch / "__init__.py") if torch and name == "torch" else None
        return None if name in names else ModuleSpec(name, None, origin=origin)

    return find


@pytest.mark.parametrize(
    ("model", "plan_request", "extra"),
    [
        (openhermes(), PlanRequest(), ("bitsandbytes",)),
        (openhermes(), PlanRequest(device="cpu"), ()),
        (openhermes("gptq"), PlanRequest(), ("gptqmodel",)),
        (openhermes("awq"), PlanRequest(), ("gptqmodel",)),
        (SAVED, PlanRequest(), ("bitsandbytes",)),
        (COMPRESSED, PlanRequest(), ("compressed_tensors",)),
    ],
)
def test_a_plan_needs_the_packages_of_its_engine_and_quantization(
    model: ModelFacts, plan_request: PlanRequest, extra: tuple[str, ...]
) -> None:
    """A plan needs the packages of its engine and of its quantization, and no others."""
    plan = choose(SMALL, model, plan_request)
    assert packages(plan, model) == ("torch", "transformers", "accelerate", *extra)
    check(plan, model, without())


def test_a_gguf_needs_no_packages() -> None:
    """A GGUF runs without torch and transformers."""
    model = openhermes("gguf")
    check(choose(SMALL, model), model, without("torch", "transformers"))


def missing(plan: Plan, model: ModelFacts, *names: str) -> ModelUnavailable:
    """Return the error that is raised if some packages are missing."""
    with pytest.raises(ModelUnavailable) as caught:
        check(plan, model, without(*names))
    return caught.value


def test_a_missing_package_is_named_with_the_install_command() -> None:
    """A missing package is named with the install command, and with the GGUF if there is one."""
    model = openhermes()
    error = missing(choose(SMALL, model), model, "torch", "bitsandbytes")
    assert "torch, bitsandbytes are not installed" in error.message
    assert error.hint == (
        "run pip install 'openhermes-cli[transformers]'; "
        "or use the GGUF, which needs no packages: -m openhermes-2:gguf"
    )
    gptq = openhermes("gptq")
    error = missing(choose(SMALL, gptq), gptq, "gptqmodel")
    assert "gptqmodel is not installed" in error.message
    assert "run pip install gptqmodel --no-build-isolation" in error.hint
    error = missing(choose(SMALL, COMPRESSED), COMPRESSED, "compressed_tensors")
    assert "compressed-tensors is not installed" in error.message
    other = replace(model, name="o/other", repo="o/other")
    assert "GGUF" not in missing(choose(SMALL, other), other, "torch").hint


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        ("cuda = None\n", False),
        ("git_version = 'x'\n", True),
        (None, True),
    ],
)
def test_a_cpu_build_of_torch_is_refused_for_cuda(tmp_path: Path, version: str | None, fits: bool) -> None:  # noqa: FBT001 - a table
    """A CPU build of torch is refused for a plan on CUDA; an unknown build is accepted."""
    if version is not None:
        (tmp_path / "version.py").write_text(version)
    model = openhermes()
    plan = choose(SMALL, model)
    if fits:
        check(plan, model, without(torch=tmp_path))
        return
    with pytest.raises(ModelUnavailable, match="has no CUDA support, which cuda:0 needs") as caught:
        check(plan, model, without(torch=tmp_path))
    assert "--device cpu" in caught.value.hint


def test_finding_packages_imports_nothing() -> None:
    """Looking for packages does not import them."""
    before = set(sys.modules)
    for name in (*requirements.ENGINE_PACKAGES, "bitsandbytes", "no_such_package_at_all"):
        find_package(name)
    assert not {"torch", "transformers", "bitsandbytes"} & (set(sys.modules) - before)
    assert find_package("no_such_package_at_all") is None
