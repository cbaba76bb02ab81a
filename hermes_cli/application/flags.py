"""The flags that several commands share: spellings, help texts, and validation of the values.

Each command lists the flags that it takes (`cli/command.py`); the other flags keep their defaults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import typer

from hermes_cli import options
from hermes_cli.errors import ConfigError, UsageError
from hermes_cli.options import FIELDS, LayeredOptions, OptionError

if TYPE_CHECKING:  # these imports take longer than printing the help
    from hermes_cli.chat.prompt_settings import Overflow
    from hermes_cli.config import Settings
    from hermes_cli.models.plan.request import PlanRequest
    from hermes_cli.personas.persona import Persona
    from hermes_cli.prompts.template_request import TemplateRequest

SHOW, OFF = "show", "off"
"""Values of `--thinking`."""


def _flag(help_text: str, *spellings: str, metavar: str | None = None) -> Any:
    """Return a field of Flags with its typer option, which takes a value if `metavar` is set."""
    option = typer.Option(*spellings, help=help_text, metavar=metavar, show_default=False)
    return field(default=None if metavar else False, metadata={"option": option})


@dataclass(frozen=True)
class Flags:
    """The shared flags of one command, as given on the command line."""

    model: str | None = _flag(
        "Use this model: a short name, a file, a folder, owner/name on the hub, a server's URL, lmstudio, "
        "ollama, or a server in the config file.",
        "-m",
        "--model",
        metavar="MODEL",
    )
    personas: list[str] | None = _flag(  # noqa: RUF009 - returns a field
        "Use this persona: a name or a file. In a chat, several make a group.",
        "-p",
        "--persona",
        metavar="NAME",
    )
    system: str | None = _flag(
        "Use this system prompt instead of the persona's.", "-s", "--system", metavar="TEXT"
    )
    user: str | None = _flag(
        "Set your name, or choose one of the config file's [users].", "--user", metavar="NAME"
    )
    lore: list[str] | None = _flag(  # noqa: RUF009 - returns a field
        "Add a lorebook, by name or file; repeatable.", "--lore", metavar="NAME"
    )
    on_overflow: str | None = _flag(
        "If the context is full: drop (default in a chat), error (default in a pipe) or summarise.",
        "--on-overflow",
        metavar="WORD",
    )
    continue_last: bool = _flag("Continue the most recent conversation.", "-c", "--continue")
    resume: str | None = _flag(
        "Continue a conversation, by its number or title.", "-r", "--resume", metavar="NAME"
    )
    fork: bool = _flag("With -c or -r: continue in a copy of the conversation.", "--fork")
    log: bool = _flag("Save the conversation, also if the config file has save = false.", "--log")
    no_log: bool = _flag("Save nothing to disk: neither the conversation nor the typed lines.", "--no-log")
    context: str | None = _flag(
        "Set the size of the context window, in tokens (4096 or 4k).", "--context", metavar="N"
    )
    precision: str | None = _flag(
        "Set the precision: auto (default), 16bit, bf16, fp16, fp32, 8bit or 4bit.",
        "--precision",
        metavar="WORD",
    )
    device: str | None = _flag(
        "Set the device: auto (default), cpu, cuda, rocm, xpu, mps or vulkan, or a numbered one (cuda:1).",
        "--device",
        metavar="DEVICE",
    )
    gpu_layers: str | None = _flag(
        "For a GGUF: put this many layers on the GPU, or all. The default is as many as fit.",
        "--gpu-layers",
        metavar="N",
    )
    kv: str | None = _flag(
        "For a GGUF: set the type of the KV cache: f16 (default), or q8_0, which halves it.",
        "--kv",
        metavar="TYPE",
    )
    chat_template: str | None = _flag(
        "Set the prompt format: chatml, the name of one of the model's chat templates, or a Jinja file.",
        "--chat-template",
        metavar="NAME|FILE",
    )
    fallback: bool = _flag("If memory runs out, load a smaller form without asking.", "--fallback")
    statistics: bool = _flag("Print statistics after each answer, on standard error.", "--stats")
    insecure: bool = _flag(
        "Send the key of a server over plain HTTP, also to a public address.", "--insecure"
    )
    thinking: str | None = _flag(
        "Show the model's reasoning, hide it (default) or turn it off: show, hide or off.",
        "--thinking",
        metavar="WORD",
    )
    variables: list[str] | None = _flag(  # noqa: RUF009 - returns a field
        "Set a variable of the persona, which replaces {{NAME}}; repeatable.", "--var", metavar="NAME=VALUE"
    )
    sampling: Mapping[str, str | list[str] | None] = field(default_factory=dict)
    """The unchecked values of the generation options on the command line, by name."""

    def plan_request(self, settings: "Settings", persona: "Persona | None" = None) -> "PlanRequest":
        """Return the plan request. Each value comes from its flag, or else from its setting, if it has one.

        The persona's context window overrides the config file's, but not that of the environment.

        Raises UsageError for an invalid flag, and ConfigError for an invalid setting or template file.
        """
        from hermes_cli.models.plan import request

        def checked(name: str, check: Callable[[str | None], str]) -> str:
            flag, setting = getattr(self, name), getattr(settings, name)
            try:
                return check(flag if flag is not None else setting)
            except UsageError as error:
                if flag is not None:
                    raise
                message = error.message.removeprefix("--")
                raise ConfigError(f"{settings.source(name)}: {message}") from None

        size, source = self.context_size(settings, persona)
        return request.PlanRequest(
            size,
            context_source=source,
            precision=checked("precision", request.normalize_precision),
            device=checked("device", request.normalize_device),
            gpu_layers=request.parse_gpu_layers(self.gpu_layers),
            kv=request.check_kv(self.kv),
            chat_template=self._template_request(settings),
            insecure=self.insecure,
        )

    def _template_request(self, settings: "Settings") -> "TemplateRequest | None":
        from hermes_cli.prompts.template_request import read_request

        if self.chat_template is not None:
            return read_request(self.chat_template)
        if settings.chat_template is None:
            return None
        source = settings.source("chat_template")
        return read_request(settings.chat_template, f"chat_template in the {source}")

    @property
    def persona(self) -> str | None:
        """The only persona, or None. Raises UsageError if there are several."""
        self.require_one_persona()
        return self.personas[0] if self.personas else None

    def require_one_persona(self) -> None:
        """Raise UsageError if there are several personas."""
        if self.personas and len(self.personas) > 1:
            raise UsageError("only one persona can be used here", "hermes chat takes several: a group")

    def check_server(self) -> None:
        """Raise UsageError if a flag is set that chooses how a model runs on this machine."""
        if given := self._for_this_machine():
            raise UsageError(f"{given[0]} does not apply to a model on a server", f"omit {given[0]}")

    @property
    def is_for_this_machine(self) -> bool:
        """Whether a flag is set that chooses how a model runs on this machine."""
        return bool(self._for_this_machine())

    def _for_this_machine(self) -> list[str]:
        names = ("precision", "device", "gpu_layers", "kv", "chat_template")
        return [option_flag(name) for name in names if getattr(self, name) is not None]

    def check_raw(self, prefill: str, *, then_chat: bool = False) -> None:
        """Raise UsageError if a flag is set that has no meaning for plain text, which is no conversation."""
        given = {
            "--persona": self.personas,
            "--system": self.system is not None,
            "--user": self.user is not None,
            "--lore": self.lore,
            "--var": self.variables,
            "--on-overflow": self.on_overflow is not None,
            "--continue": self.continue_last,
            "--resume": self.resume is not None,
            "--fork": self.fork,
            "--log": self.log,
            "--chat-template": self.chat_template is not None,
            "--prefill": prefill,
            "--then-chat": then_chat,
        }
        if names := [name for name, value in given.items() if value]:
            raise UsageError(
                f"--raw excludes {' and '.join(names)}: it completes plain text and saves nothing",
                f"omit --raw, or {' and '.join(names)}",
            )

    @property
    def continues(self) -> bool:
        """Whether a saved conversation is continued, to which the new messages are saved."""
        return self.continue_last or self.resume is not None

    def with_saving(self, settings: "Settings") -> "Flags":
        """Return the flags with --no-log set if the settings turn saving off and no flag asks for it."""
        return replace(self, no_log=self.no_log or not (settings.save or self.log or self.continues))

    def context_size(self, settings: "Settings", persona: "Persona | None" = None) -> tuple[int | None, str]:
        """Return the requested context window in tokens, or None, and the persona or file that requests it.

        Raises UsageError for an invalid flag.
        """
        if self.context is None:
            source = settings.source("context")
            if persona is not None and persona.context is not None and not source.startswith("environment"):
                return persona.context, f"persona {persona.key}"
            return settings.context, "" if settings.context is None else source
        size = options.parse_context(self.context)
        if size is None or not 1 <= size <= options.MAX_CONTEXT:
            raise UsageError(
                f"--context takes a number of tokens, 1 to {options.MAX_CONTEXT:,}, "
                f"not '{self.context[:40]}'",
                f"write it {options.CONTEXT_EXAMPLES}",
            )
        return size, ""

    def overflow(self, settings: "Settings", *, interactive: bool) -> "Overflow":
        """Return the action for a full context window. Raises UsageError for an unknown word."""
        from hermes_cli.chat.prompt_settings import Overflow

        word = self.on_overflow if self.on_overflow is not None else settings.on_overflow
        if word is None:
            return Overflow.DROP if interactive else Overflow.ERROR
        try:
            return Overflow(word)
        except ValueError:
            known = f"{', '.join([*Overflow][:-1])} or {[*Overflow][-1]}"
            raise UsageError(f"--on-overflow takes {known}, not '{word[:40]}'") from None

    def options(self, settings: "Settings", persona: "Persona") -> LayeredOptions:
        """Return the generation options. Raises UsageError, which names the flag, for an invalid value."""
        values: dict[str, Any] = {}
        for name, value in self.sampling.items():
            if not value and value != "":
                continue
            try:
                values[name] = (
                    options.parse_text(name, value)
                    if isinstance(value, str)
                    else options.check_value(name, value)
                )
            except OptionError as error:
                raise UsageError(f"{option_flag(name)}: {error}") from None
        layered = settings.sampling(persona.key, persona.options, flags=values)
        if self.thinking_mode(settings) == OFF and "thinking_budget" not in layered.sources:
            source = settings.source("thinking") if self.thinking is None else "command line"
            return layered.with_layer({"thinking_budget": 0}, source)
        return layered

    def thinking_mode(self, settings: "Settings") -> str:
        """Return "show", "hide" or "off". Raises UsageError for an unknown word."""
        from hermes_cli.config import CHOICES

        word = settings.thinking if self.thinking is None else self.thinking
        known = CHOICES["thinking"]
        if word not in known:
            raise UsageError(f"--thinking takes {', '.join(known[:-1])} or {known[-1]}, not '{word[:40]}'")
        return word


def option_flag(name: str) -> str:
    """Return the flag of a generation option, such as `--top-p`."""
    return f"--{name.replace('_', '-')}"


def option_parameter(name: str) -> Any:
    """Return the typer option for a generation option. Its value is a string, validated by `options`."""
    option = FIELDS[name]
    return typer.Option(
        option_flag(name),
        help=option.help if option.kind is str else f"{option.help} ({option.range_text})",
        metavar="TEXT" if option.kind is str else "N",
        rich_help_panel="Sampling",
    )
