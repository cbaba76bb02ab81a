"""The flags that several shell verbs share, each declared once."""

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


# Numbers come in as text: `options.py` is the one place that knows what they may be.
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
        "-m", "--model", help="An alias, a .gguf file, a folder, or owner/name of the hub.", metavar="MODEL"
    ),
]
PersonaName = Annotated[
    str | None, typer.Option("-p", "--persona", help="A persona's name, or its file.", metavar="NAME")
]
System = Annotated[
    str | None,
    typer.Option("-s", "--system", help="A system prompt instead of the persona's.", metavar="TEXT"),
]
User = Annotated[str | None, typer.Option("--user", help="What a persona calls you.", metavar="NAME")]
Lore = Annotated[
    list[str] | None,
    typer.Option(
        "--lore", help="A lorebook to play with, by name or file; may be given several times.", metavar="NAME"
    ),
]
OnOverflow = Annotated[
    str | None,
    typer.Option(
        "--on-overflow",
        help="Where the context is full: drop, error or summarise; a pipe's is error, a chat's is drop.",
        metavar="WORD",
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Size of the context window in tokens.", metavar="N")
]
Statistics = Annotated[
    bool, typer.Option("--stats", help="Say what each answer cost, on standard error.", show_default=False)
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", help="auto, 16bit, bf16, fp16, fp32, 8bit or 4bit; auto by default.", metavar="WORD"
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="auto, cpu, cuda, rocm, xpu, mps, or one such as cuda:1.", metavar="DEVICE"
    ),
]
Continue = Annotated[
    bool,
    typer.Option("-c", "--continue", help="Go on with the last conversation.", show_default=False),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "-r", "--resume", help="Go on with a conversation, by its number or its title.", metavar="NAME"
    ),
]
Fork = Annotated[
    bool,
    typer.Option(
        "--fork", help="With -c or -r: go on in a copy, and leave the other as it is.", show_default=False
    ),
]
NoLog = Annotated[bool, typer.Option("--no-log", help="Write nothing down.", show_default=False)]
Log = Annotated[bool, typer.Option("--log", help="Keep the question and the answer.", show_default=False)]
Prompt = Annotated[
    list[str] | None, typer.Argument(help="The prompt.", metavar="[PROMPT]...", show_default=False)
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "-f", "--file", help="A file to put into the prompt; may be given several times.", metavar="FILE"
    ),
]
Prefill = Annotated[str, typer.Option("--prefill", help="The answer begins with this text.", metavar="TEXT")]
