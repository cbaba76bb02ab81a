"""Run hermes inside the test's own process, over streams of bytes, as a shell does."""

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
    """The results of a command."""

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
    """Write a script for the scripted engine and return the model name for -m."""
    path = folder / "script.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"context_size": context_size, **more}.items()]
    for turn in turns:
        lines.append("[[turns]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in turn.items()]
    path.write_text("\n".join(lines) + "\n")
    return f"scripted:{path}"


def environment(root: Path) -> dict[str, str]:
    """Return the environment of an empty home, without the settings of the user who runs the tests."""
    return {
        "HOME": str(root),
        "OPENHERMES_HOME": str(root / "hermes"),
        "HF_HOME": str(root / "huggingface"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # nothing listens on the discard port: the hub cannot be reached
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }
