"""Parses YAML with limits on size and depth; aliases, tags and duplicate keys are rejected."""

import re
from typing import Any, Final

from hermes_cli.untrusted.source import BOM, Source, check_size, decode

MAX_BYTES: Final = 128 << 10
"""PyYAML reads one character at a time; a larger file would take too long."""
MAX_DEPTH: Final = 20
_MAX_MARKS: Final = 5000
_MAX_COMMAS: Final = 10_000
"""Limits on colons, dashes and brackets, and on commas. Each may begin a value; files have hundreds."""
_MARK: Final = re.compile(r"[-:?](?=\s)|[\[{]")
_LONG_NUMBER: Final = re.compile(r"[0-9_:.]{200}")
"""YAML may interpret such a number in base 60, which takes quadratic time."""
_HINT: Final = "quote strings that contain a colon or a dash, and compare the file with the original"


def parse(data: bytes, source: Source) -> Any:
    """Parse a YAML document in UTF-8. Raises `source.error`, with the line and column if known."""
    import yaml

    text = decode(check_size(data, MAX_BYTES, source), source).removeprefix(BOM)
    if len(_MARK.findall(text)) > _MAX_MARKS or text.count(",") > _MAX_COMMAS:
        raise source.error("has too many values", _HINT)
    if _LONG_NUMBER.search(text):
        raise source.error("contains a number that is too long", _HINT)
    try:
        return _loader(source)(text).get_single_data()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        reason = f"is not YAML: {problem.problem or 'it ends too early'}"
        raise source.error(reason, _HINT, line, column) from None
    except (yaml.YAMLError, ValueError, OverflowError) as problem:
        raise source.error(f"is not YAML: {str(problem).splitlines()[0]}", _HINT) from None
    except RecursionError:
        raise source.error("is nested too deeply", _HINT) from None


def _loader(source: Source) -> Any:
    """Return a loader class that accepts only plain values within the limits. It raises `source.error`."""
    import yaml

    class Strict(yaml.SafeLoader):
        """A loader that rejects aliases, tags, deep nesting and duplicate keys."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise source.error("contains an alias or an anchor, which are not supported", _HINT)
            if getattr(event, "tag", None):
                raise source.error("contains a tag; only plain values are supported", _HINT)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise RecursionError
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                duplicate = next(key for key in keys if keys.count(key) > 1)
                raise source.error(f"has the key '{duplicate[:60]}' twice", _HINT)
            return super().construct_mapping(node, deep)

    return Strict
