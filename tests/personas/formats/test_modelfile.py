"""Reading and writing Ollama's Modelfiles."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_cli.errors import PersonaError
from hermes_cli.personas.formats import modelfile
from hermes_cli.personas.formats.import_result import Remarks
from hermes_cli.personas.persona import Example, Note, Persona

SOURCE = Path("mario.modelfile")
# After the examples in "Ollama Model File Reference".
MARIO = '''# a comment
FROM llama3.2
# sets the temperature to 1 [higher is more creative, lower is more coherent]
PARAMETER temperature 1
PARAMETER num_ctx 4096
parameter stop "<|user|>"
PARAMETER stop AI assistant:
PARAMETER num_predict -1
PARAMETER	min_p	0.25
TEMPLATE """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}"""

SYSTEM """
You are Mario from super mario bros,
  acting as an assistant.
"""
MESSAGE user Is Toronto in Canada?
MESSAGE assistant yes
MESSAGE user """Is
Sacramento?"""
MESSAGE assistant "no"
LICENSE """
Free."""
'''


def read(text: str) -> tuple[Persona, tuple[str, ...]]:
    """Return the persona of a Modelfile, and the remarks."""
    remarks = Remarks()
    return modelfile.read(text, SOURCE, remarks), remarks.summary()


def test_the_prompt_examples_and_options_are_read() -> None:
    """The prompt, examples and options are read; the template and unknown options are remarked on."""
    persona, remarks = read(MARIO)
    assert persona.system == "You are Mario from super mario bros,\n  acting as an assistant."
    assert persona.examples == (
        Example("Is Toronto in Canada?", "yes"),
        Example("Is\nSacramento?", "no"),
    )
    assert dict(persona.options) == {"temperature": 1.0, "min_p": 0.25, "stop": ("<|user|>", "AI assistant:")}
    assert persona.context == 4096
    assert persona.name == "mario"
    assert remarks == ("its TEMPLATE is left out: each model has its own prompt format",)


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        (["repeat_last_n 64"], {"repetition_range": 64}),
        (["repeat_last_n -1"], {"repetition_range": 0}),
        (["repeat_last_n 0", "repeat_penalty 1.3"], {"repetition_range": 0, "repetition_penalty": 1.0}),
        (["repeat_last_n 0", "repeat_last_n 9"], {"repetition_range": 9}),
    ],
)
def test_the_range_of_the_repetition_penalty_is_read_and_written(
    parameters: list[str], options: dict[str, float]
) -> None:
    """Ollama's -1 is the whole context, and its 0 turns the penalty off."""
    persona, remarks = read("\n".join(["FROM x", *(f"PARAMETER {line}" for line in parameters)]))
    assert dict(persona.options) == options
    assert remarks == ()
    assert dict(read(modelfile.write(persona, None))[0].options) == options


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("FROM x\nSYSTEM You are brief.", "You are brief."),
        ('FROM x\nsystem "Quoted."', "Quoted."),
        ('FROM x\r\nSYSTEM """a\r\nb"""\r\n', "a\nb"),
        ('FROM x\nSYSTEM """one""" ', "one"),
        ('FROM x\nSYSTEM Say "hello"', 'Say "hello"'),
        ('FROM x\nSYSTEM "one\ntwo"\nPARAMETER seed 1', "one\ntwo"),
        ("FROM x\nSYSTEM a\0b", "ab"),
        ("FROM x\nSYSTEM a\nMESSAGE system b", "a\n\nb"),
        ("FROM x", ""),
    ],
)
def test_each_way_to_quote_a_system_prompt_is_read(text: str, system: str) -> None:
    """Each way to quote a system prompt is understood."""
    assert read(text)[0].system == system


def test_a_block_without_an_end_is_refused() -> None:
    """A block without an end and a file that is too long are refused."""
    with pytest.raises(PersonaError, match="is not closed"):
        read('FROM x\nSYSTEM """a\nb')
    with pytest.raises(PersonaError, match="longer than"):
        read("FROM x\n" + "\n" * (256 << 10))


def test_a_last_message_without_a_question_is_the_greeting() -> None:
    """A last message without a question is the greeting; others without a pair are left out."""
    persona, remarks = read(
        "FROM x\nMESSAGE assistant a\nMESSAGE user b\nMESSAGE assistant c\nMESSAGE assistant d"
    )
    assert persona.examples == (Example("b", "c"),)
    assert persona.greetings == ("d",)
    assert remarks == ("a user MESSAGE without an answer, or an answer without a question, is left out",)


def test_an_unchanged_persona_is_written_as_the_same_text() -> None:
    """An unchanged persona is written as the same text."""
    persona, _ = read(MARIO)
    assert modelfile.write(persona, MARIO) == MARIO


@pytest.mark.parametrize(
    ("value", "context"), [("2048", 2048), ("0", None), ("-1", None), ("large", None), ("1" * 30, None)]
)
def test_num_ctx_is_the_context_window(value: str, context: int | None) -> None:
    """A value that is not a number of tokens is left out with a remark."""
    persona, remarks = read(f"FROM x\nPARAMETER num_ctx {value}\n")
    assert persona.context == context
    left_out = "the option 'num_ctx' is left out: it can be 64 to 10,000,000 tokens"
    assert remarks == (() if context else (left_out,))
    assert dict(persona.options) == {}


def test_a_changed_context_window_is_written() -> None:
    """There is one num_ctx, and a Modelfile without one gets it."""
    persona, _ = read(MARIO)
    written = modelfile.write(persona._replace(context=1024), MARIO)
    assert written.count("num_ctx") == 1
    assert read(written)[0].context == 1024
    assert "PARAMETER num_ctx 512\n" in modelfile.write(persona._replace(context=512), None)


def test_a_change_keeps_the_other_lines() -> None:
    """A change keeps the other lines of the Modelfile."""
    persona, _ = read(MARIO)
    written = modelfile.write(
        persona._replace(system="Be brief.", personality="kind", options={"min_p": 0.1}), MARIO
    )
    assert written.startswith("# a comment\nFROM llama3.2\n")
    assert "PARAMETER num_ctx 4096\n" in written
    assert 'TEMPLATE """{{ if .System }}' in written
    assert 'LICENSE """\nFree."""\n' in written
    assert "Mario" not in written
    reread, _ = read(written)
    assert (reread.system, reread.examples) == ("Be brief.\n\nPersonality: kind", persona.examples)
    assert dict(reread.options) == {"min_p": 0.1}


def test_a_character_is_written_as_a_prompt_examples_and_a_greeting() -> None:
    """A character is written as a prompt, examples and a greeting; three quotes are refused."""
    sera = Persona(
        "Sera",
        "",
        Path("sera.toml"),
        character="{{char}} guards the glade.",
        greetings=("Hello {{user}}.",),
        dialogue="{{user}}: Who?\n{{char}}: Me.",
        note=Note("x"),
    )
    reread, _ = read(modelfile.write(sera, None))
    assert "Sera guards the glade." in reread.system
    assert reread.examples == (Example("Who?", "Me."),)
    assert reread.greetings == ("Hello User.",)
    with pytest.raises(PersonaError, match="three quotes"):
        modelfile.write(sera._replace(character='"""'), None)


texts = st.text(st.characters(codec="utf-8", exclude_characters='\0\r"{<'), min_size=1).map(
    lambda t: f"x{t}x"
)


@given(texts, st.lists(st.tuples(texts, texts), max_size=3))
def test_any_prompt_and_examples_are_read_back_unchanged(system: str, pairs: list[tuple[str, str]]) -> None:
    """A prompt and examples without macros are read back unchanged."""
    examples = tuple(Example(*pair) for pair in pairs)
    reread, remarks = read(modelfile.write(Persona("x", system, SOURCE, examples=examples), None))
    assert (reread.system, reread.examples, remarks) == (system, examples, ())


@given(st.text())
def test_any_text_is_refused_or_written_back_unchanged(text: str) -> None:
    """Any text is refused, or read and written back unchanged."""
    for candidate in (text, f"FROM x\n{text}", f'FROM x\nSYSTEM """{text}'):
        try:
            persona, _ = read(candidate)
        except PersonaError:
            continue
        assert modelfile.write(persona, candidate) == candidate
