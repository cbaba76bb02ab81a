"""YAML that is unsafe, ambiguous or too large."""

import time
from typing import Any

import pytest

from hermes_cli.errors import PersonaError
from hermes_cli.untrusted import yaml_parser
from hermes_cli.untrusted.source import Source

SOURCE = Source("some.yaml", PersonaError)


def parsed(text: str) -> Any:
    """Return the value of a YAML text."""
    return yaml_parser.parse(text.encode(), SOURCE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1\nb: *x", "an alias or an anchor"),
        ("a: [*x]", "an alias or an anchor"),
        ("a: !!python/object/apply:os.system ['x']", "a tag"),
        ("a: !!binary eA==", "a tag"),
        ("a: 1\na: 2", "has the key 'a' twice"),
        ("[" * 50 + "]" * 50, "nested too deeply"),
        ("a: [", "line 1"),
        ("a: b: c", "line 1, column 5"),
        ("a: \ud800x", "not UTF-8"),
        ("x: " + "a" * (130 << 10), "larger than 128 KiB"),
        ("a: [" + "1," * 10_001 + "]", "too many values"),
        ("a: 2001-99-99", "not YAML"),
        ("a: " + "9" * 5000, "a number that is too long"),
        ("a: " + "1:" * 5000 + "1", "a number that is too long"),
        ("-\n" * 6000, "too many values"),
        ("".join(f"k{n}:\n" for n in range(6000)), "too many values"),
        ("--- a\n--- b", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_yaml_that_is_invalid_or_unsafe_is_refused(text: str, reason: str) -> None:
    """YAML that is invalid, ambiguous, unsafe or too large is refused with its reason."""
    with pytest.raises(PersonaError, match=reason):
        yaml_parser.parse(text.encode("utf-8", "surrogatepass"), SOURCE)


def test_the_largest_yaml_is_read_in_less_than_5_seconds() -> None:
    """YAML of the largest size is read in less than 5 seconds of CPU time."""
    line = "  Some words of a context, as a character has them, and {{char}} among them.\n"
    text = "context: |\n" + line * (yaml_parser.MAX_BYTES // len(line) - 1)
    began = time.process_time()
    assert len(parsed(text)["context"]) > 100_000
    assert time.process_time() - began < 5
