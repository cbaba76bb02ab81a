"""The flags that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hermes_cli.options import FIELDS


def _flag(name: str, *spellings: str) -> Any:
    known = FIELDS[name]
    return typer.Option(
        *(spellings or (f"--{name.replace('_', '-')}",)),
        help=f"{known.help} ({known.range_text})" if known.kind is not str else known.help,
        metavar="TEXT" if known.kind is str else "N",
        rich_help_panel="Sampling",
    )


# Numbers are read as text, because `options.py` validates them.
Temperature = Annotated[str | None, _flag("temperature")]
TopP = Annotated[str | None, _flag("top_p")]
TopK = Annotated[str | None, _flag("top_k")]
MinP = Annotated[str | None, _flag("min_p")]
RepetitionPenalty = Annotated[str | None, _flag("repetition_penalty")]
MaxTokens = Annotated[str | None, _flag("max_tokens")]
Seed = Annotated[str | None, _flag("seed")]
Stop = Annotated[list[str] | None, _flag("stop")]
DryMultiplier = Annotated[str | None, _flag("dry_multiplier")]
DryBase = Annotated[str | None, _flag("dry_base")]
DryAllowedLength = Annotated[str | None, _flag("dry_allowed_length")]
XtcProbability = Annotated[str | None, _flag("xtc_probability")]
XtcThreshold = Annotated[str | None, _flag("xtc_threshold")]
LoopGuard = Annotated[str | None, _flag("loop_guard")]
Ban = Annotated[list[str] | None, _flag("ban")]

Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="Use this model: a short name, a .gguf file, a folder, or owner/name on the hub.",
        metavar="MODEL",
    ),
]
PersonaName = Annotated[
    str | None, typer.Option("-p", "--persona", help="Use this persona: a name or a file.", metavar="NAME")
]
System = Annotated[
    str | None,
    typer.Option("-s", "--system", help="Use this system prompt instead of the persona's.", metavar="TEXT"),
]
User = Annotated[
    str | None, typer.Option("--user", help="Set the name by which characters call you.", metavar="NAME")
]
Lore = Annotated[
    list[str] | None,
    typer.Option("--lore", help="Add a lorebook, by name or file; repeatable.", metavar="NAME"),
]
OnOverflow = Annotated[
    str | None,
    typer.Option(
        "--on-overflow",
        help="If the context is full: drop (default in a chat), error (default in a pipe) or summarise.",
        metavar="WORD",
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Set the size of the context window, in tokens.", metavar="N")
]
Statistics = Annotated[
    bool,
    typer.Option(
        "--stats", help="Print statistics after each answer, on standard error.", show_default=False
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="Set the precision: auto (default), 16bit, bf16, fp16, fp32, 8bit or 4bit.",
        metavar="WORD",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Set the device: auto (default), cpu, cuda, rocm, xpu, mps, or a numbered one such as cuda:1.",
        metavar="DEVICE",
    ),
]
Continue = Annotated[
    bool,
    typer.Option("-c", "--continue", help="Continue the most recent conversation.", show_default=False),
]
Resume = Annotated[
    str | None,
    typer.Option("-r", "--resume", help="Continue a conversation, by its number or title.", metavar="NAME"),
]
Fork = Annotated[
    bool,
    typer.Option("--fork", help="With -c or -r: continue in a copy of the conversation.", show_default=False),
]
NoLog = Annotated[
    bool,
    typer.Option(
        "--no-log",
        help="Save nothing to disk: neither the conversation nor the typed lines.",
        show_default=False,
    ),
]
Log = Annotated[bool, typer.Option("--log", help="Save the question and the answer.", show_default=False)]
Prompt = Annotated[
    list[str] | None, typer.Argument(help="The prompt.", metavar="[PROMPT]...", show_default=False)
]
Files = Annotated[
    list[Path] | None,
    typer.Option("-f", "--file", help="Add a text file to the prompt; repeatable.", metavar="FILE"),
]
Prefill = Annotated[str, typer.Option("--prefill", help="Begin the answer with this text.", metavar="TEXT")]
