"""Which model is taken, and what is said about it."""

from pathlib import Path

import pytest

from hermes_cli.errors import ModelUnavailable
from hermes_cli.models.catalogue import STARTER_FILE
from hermes_cli.models.hardware import GIB, Hardware
from hermes_cli.models.select import Selection, resolve
from tests.models.conftest import MakeGguf
from tests.models.test_local import put_in_cache

MACHINE = Hardware(2, 4, 8 * GIB, 4 * GIB)
FULL = Hardware(2, 4, 8 * GIB, GIB // 8)


def ask(
    tmp_path: Path, text: str | None, configured: str | None = None, hardware: Hardware = MACHINE
) -> Selection | None:
    """Resolve with the models in tmp_path / models and the cache in tmp_path / cache."""
    return resolve(
        text,
        models_dir=tmp_path / "models",
        hardware=hardware,
        configured=configured,
        cache_dir=tmp_path / "cache",
    )


def test_nothing_here(tmp_path: Path) -> None:
    """Broken: on a bare machine there would be an error instead of an offer."""
    assert ask(tmp_path, None) is None


def test_the_starter_may_be_fetched(tmp_path: Path) -> None:
    """Broken: `-m starter` would fail on a bare machine, though it may be fetched unasked."""
    selection = ask(tmp_path, "starter")
    assert selection is not None
    assert (selection.name, selection.needs_fetch) == ("starter", True)
    with pytest.raises(ModelUnavailable, match="not on this machine yet"):
        selection.plan(MACHINE)


def test_a_broken_starter_is_fetched_again(tmp_path: Path) -> None:
    """Broken: a damaged starter would have to be deleted by hand."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / STARTER_FILE).write_bytes(b"GGUF")
    selection = ask(tmp_path, "starter")
    assert selection is not None
    assert selection.needs_fetch
    assert "broken" in selection.reason


def test_named_and_not_here(tmp_path: Path) -> None:
    """Broken: gigabytes would be fetched unasked, or the person would not learn the command and its size."""
    with pytest.raises(ModelUnavailable, match="openhermes-2 is not on this machine") as caught:
        ask(tmp_path, "openhermes-2")
    assert caught.value.hint == "'hermes models pull openhermes-2' fetches it (about 4.37 GB)"
    with pytest.raises(ModelUnavailable, match="runs GGUF files") as caught:
        ask(tmp_path, "openhermes-2.5:awq")
    assert "pull openhermes-2.5'" in caught.value.hint


def test_order_of_preference(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Broken: a toy would answer where OpenHermes is at hand."""
    make_gguf(f"models/{STARTER_FILE}", width=96)
    assert (chosen := ask(tmp_path, None)) is not None
    assert (chosen.name, chosen.reason) == ("starter", "it is the only ChatML model here")
    make_gguf("models/small.gguf", width=32)
    make_gguf("models/large.gguf", width=64)
    make_gguf("models/no-chatml.gguf", width=128, tokens=["a"], types=[1])
    assert (chosen := ask(tmp_path, None)) is not None
    assert (chosen.name, chosen.reason) == ("large", "it is the largest of the 3 ChatML models here")
    content = make_gguf("x.gguf", title="teknium_OpenHermes-2-Mistral-7B").read_bytes()
    put_in_cache(tmp_path / "cache", "some/one", {"m.gguf": content})
    assert (chosen := ask(tmp_path, None)) is not None
    assert chosen.name == "some/one:m.gguf"
    assert "OpenHermes comes first" in chosen.reason
    assert chosen.plan(MACHINE).summary.startswith("some/one:m.gguf · Q4_1 · cpu")


def test_what_does_not_fit_is_passed_over(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Broken: hermes would choose a model that the memory cannot hold, or choose another in silence."""
    make_gguf("models/openhermes-vast.gguf", blocks=60_000, heads_kv=4096, context=8192)
    make_gguf("models/small.gguf")
    chosen = ask(tmp_path, None)
    assert chosen is not None
    assert chosen.name == "small"
    assert "openhermes-vast would need more memory" in chosen.reason
    assert ask(tmp_path, None, hardware=FULL) is None


def test_the_configured_model(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Broken: the config's model would not be used, or would win over the one that is typed."""
    make_gguf("models/one.gguf")
    make_gguf("models/two.gguf")
    assert (chosen := ask(tmp_path, None, configured="two")) is not None
    assert (chosen.name, chosen.reason) == ("two", "the configuration names it")
    assert (chosen := ask(tmp_path, "one", configured="two")) is not None
    assert (chosen.name, chosen.reason) == ("one", "it was asked for")


def test_paths(make_gguf: MakeGguf, tmp_path: Path) -> None:
    """Broken: a file or a folder named by its path would not be found as what it is."""
    path = make_gguf("elsewhere/m.gguf")
    for text in (str(path), str(path.parent)):
        assert (chosen := ask(tmp_path, text)) is not None
        assert chosen.model is not None
        assert (chosen.model.path, chosen.name) == (path, "m")
    make_gguf("elsewhere/n.gguf")
    with pytest.raises(ModelUnavailable, match="holds 2 GGUF files"):
        ask(tmp_path, str(path.parent))
    with pytest.raises(ModelUnavailable, match="holds no model"):
        ask(tmp_path, str(tmp_path))


def test_a_broken_file(tmp_path: Path) -> None:
    """Broken: a damaged file would reach the engine."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match=r"bad cannot be used: .* is no GGUF file"):
        ask(tmp_path, str(path))
