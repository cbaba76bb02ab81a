"""Parses untrusted YAML with limits of size and depth, without aliases, tags or duplicate keys."""

import re
from pathlib import Path
from typing import Any, Final

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats.strict_json import decode

MAX_BYTES: Final = 128 << 10
"""PyYAML reads one character at a time, so a larger file would take too long."""
MAX_DEPTH: Final = 20
_MAX_MARKS: Final = 5000
_MAX_COMMAS: Final = 10_000
"""Limits of colons, dashes and brackets, and of commas. Each may begin a value; files have a few hundred."""
_MARK: Final = re.compile(r"[-:?](?=\s)|[\[{]")
_LONG_NUMBER: Final = re.compile(r"[0-9_:.]{200}")
"""Such a number may be in base 60 in YAML, which takes quadratic time to parse."""
_HINT: Final = "quote texts that hold a colon or a dash; compare it with the file it came from"


class _Refused(ValueError):  # noqa: N818 - reads as what happened
    """YAML allows it and hermes does not."""


def parse(data: bytes, source: Path) -> Any:
    """Return the value of a YAML text. `source` is named in errors.

    Raises PersonaError if the text is not UTF-8, not YAML, too large, too deep, or has an alias or a tag.
    """
    import yaml  # noqa: PLC0415 - only such files need it

    if len(data) > MAX_BYTES:
        raise PersonaError(f"{source}: its YAML is larger than {MAX_BYTES >> 10} KiB", "shorten its texts")
    text = decode(data, source)
    if len(_MARK.findall(text)) > _MAX_MARKS or text.count(",") > _MAX_COMMAS:
        raise PersonaError(f"{source}: its YAML holds too many values", "no character needs so many")
    if _LONG_NUMBER.search(text):
        raise PersonaError(f"{source} holds a number that is too long", _HINT)
    try:
        return _loader()(text).get_single_data()
    except _Refused as error:
        raise PersonaError(f"{source}: {error}", _HINT) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1:,}, column {mark.column + 1:,}" if mark else ""
        raise PersonaError(
            f"{source} is not YAML: {error.problem or 'it ends too early'}{place}", _HINT
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise PersonaError(f"{source} is not YAML: {str(error).splitlines()[0]}", _HINT) from None
    except RecursionError:
        raise PersonaError(f"{source} is nested too deeply", "no character needs that depth") from None


def _loader() -> Any:
    """Return a class of loaders for plain values with hermes' limits."""
    import yaml  # noqa: PLC0415 - see above

    class Strict(yaml.SafeLoader):
        """A loader that rejects aliases, tags, deep nesting and duplicate keys."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _Refused("it holds an alias or an anchor; hermes reads neither")
            if getattr(event, "tag", None):
                raise _Refused("it holds a tag; hermes reads plain values alone")
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise RecursionError
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                raise _Refused(f"the key '{twice[:60]}' is there twice")
            return super().construct_mapping(node, deep)

    return Strict
