"""Runs hermes inside the test's own process, over streams of bytes, as the shell would."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes_cli import app
from hermes_cli.screen.terminal import Terminal


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.stdout)


def hermes(*arguments: str, env: Mapping[str, str], stdin: bytes = b"") -> Result:
    """Run one command line with its streams in pipes."""
    out, err = io.BytesIO(), io.StringIO()
    terminal = Terminal(io.BytesIO(stdin), out, err, False, False, False)  # noqa: FBT003 - three streams, three answers
    code = app.run(arguments, terminal, env)
    return Result(code, out.getvalue(), err.getvalue())


def script(folder: Path, *turns: Mapping[str, Any], context_size: int = 4096, **more: Any) -> str:
    """Write a script for the scripted engine and return the name to give after -m."""
    path = folder / "script.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"context_size": context_size, **more}.items()]
    for turn in turns:
        lines.append("[[turns]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in turn.items()]
    path.write_text("\n".join(lines) + "\n")
    return f"scripted:{path}"
