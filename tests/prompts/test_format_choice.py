"""Tests of the choice of a prompt format."""

import contextlib
from pathlib import Path

import pytest

from hermes_cli.errors import ConfigError, HermesError, ModelUnavailable
from hermes_cli.prompts.chat_template import ChatTemplate
from hermes_cli.prompts.chatml import missing_tokens
from hermes_cli.prompts.format_choice import FormatChoice, ModelTemplates
from hermes_cli.prompts.template_request import MAX_FILE, RAW, TemplateRequest, read_request

OWN, TOOLS = ChatTemplate("own"), ChatTemplate("tools")
SPECIAL = {"bos_token": "<s>"}
CHATML = ModelTemplates(None, OWN, {"tools": TOOLS}, SPECIAL, adds_bos=True)
OTHER = ModelTemplates(missing_tokens([]), OWN, {"tools": TOOLS}, SPECIAL, adds_bos=True)
BASE = ModelTemplates(missing_tokens([]))


@pytest.mark.parametrize(
    ("templates", "request_text", "text", "template"),
    [
        (CHATML, None, "ChatML (its vocabulary has both tokens)", None),
        (OTHER, None, "the model's chat template (its vocabulary lacks a ChatML token)", OWN),
        (CHATML, "chatml", "ChatML (--chat-template)", None),
        (CHATML, "tools", "the model's chat template 'tools' (--chat-template)", TOOLS),
        (OTHER, "tools", "the model's chat template 'tools' (--chat-template)", TOOLS),
    ],
)
def test_the_format_has_a_name_and_a_reason(
    templates: ModelTemplates, request_text: str | None, text: str, template: ChatTemplate | None
) -> None:
    """ChatML by its tokens has no template, even if the model has one."""
    choice = templates.choose(None if request_text is None else read_request(request_text))
    assert (str(choice), choice.template) == (text, template)


def test_a_file_replaces_chatml(tmp_path: Path) -> None:
    """It gets the model's special tokens, and the BOS token of the tokenizer."""
    path = tmp_path / "mine.jinja"
    path.write_text("\ufeff{{ bos_token }}mine", encoding="utf-8")
    choice = CHATML.choose(read_request(str(path)))
    assert str(choice) == f"chat template {path} (--chat-template)"
    assert choice.template == ChatTemplate("{{ bos_token }}mine", SPECIAL, adds_bos=True)


def test_a_name_of_the_model_has_precedence_over_a_file(tmp_path: Path) -> None:
    """A name with a slash is always a file."""
    (tmp_path / "tools").write_text("file")
    with contextlib.chdir(tmp_path):
        assert OTHER.choose(read_request("tools")).template == TOOLS
        file = OTHER.choose(read_request("./tools")).template
    assert file is not None
    assert file.source == "file"


def test_a_base_model_is_refused_with_the_flag_that_helps() -> None:
    """One sentence and the hint; with the flag or as plain text it has a format."""
    with pytest.raises(ModelUnavailable, match="no chat template") as caught:
        BASE.choose()
    assert "--chat-template chatml" in caught.value.hint
    assert "<|im_start|>" in (BASE.choose(read_request("chatml")).template or OWN).source
    assert str(BASE.choose(RAW)) == "plain text (--raw)"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """The error says where the name comes from."""
    with pytest.raises(ModelUnavailable, match=r"^chat_template in the config file: .* 'rag'") as caught:
        OTHER.choose(TemplateRequest("rag", "chat_template in the config file"))
    assert (caught.value.exit_code, caught.value.hint) == (69, "give chatml, tools or a file")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing, large or empty file, a folder, and other bytes than UTF-8 are a ConfigError."""
    large, latin, empty = tmp_path / "large.jinja", tmp_path / "latin.jinja", tmp_path / "empty.jinja"
    empty.write_text("\n")
    large.write_bytes(b"a" * (MAX_FILE + 1))
    latin.write_bytes(b"caf\xe9")
    problems = {tmp_path / "no.jinja": "there is no file", tmp_path: "is a folder"}
    for path, problem in {
        **problems,
        large: "is larger than 192 KiB",
        empty: "is empty",
        latin: "is not UTF-8",
    }.items():
        with pytest.raises(ConfigError, match=problem):
            read_request(str(path))


LOOP = "{% for i in range(1000000000) %}{% endfor %}"


@pytest.mark.parametrize("source", ["{% for %}", LOOP, "{{ raise_exception('no') }}", "x" * 100_000])
def test_the_check_finds_a_template_that_cannot_be_used(source: str) -> None:
    """The model's own is its problem (69), and a file that of the user (78). Both are found each time."""
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="the model's chat template") as caught:
            FormatChoice("the model's chat template", "", ChatTemplate(source)).check()
        assert "--chat-template" in caught.value.hint
        with pytest.raises(ConfigError, match="the chat template mine "):
            FormatChoice("chat template mine", "", ChatTemplate(source), is_own=False).check()


def test_the_check_accepts_the_built_in_formats() -> None:
    """ChatML has no template to check."""
    for choice in (CHATML.choose(), BASE.choose(read_request("chatml")), BASE.choose(RAW)):
        choice.check()


@pytest.mark.parametrize("text", ["a\0b", "~nobody-here/x.jinja", "/a\0b"])
def test_a_strange_name_is_one_error(text: str) -> None:
    """Neither a traceback nor a format."""
    with pytest.raises(HermesError):
        OTHER.choose(read_request(text))
