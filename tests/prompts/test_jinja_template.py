# ruff: noqa: E501, ISC004 - a template is one string
"""Tests of the sandbox of chat templates: real constructs work, and hostile templates end with one error."""

import resource
import time
from datetime import datetime
from typing import Any

import pytest

from hermes_cli.errors import ModelUnavailable
from hermes_cli.prompts.jinja_template import JinjaTemplate, TemplateRefusal
from hermes_cli.prompts.template_budget import Budget, InvalidTemplate
from tests.prompts.chat_templates import FAMILIES

MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": " yo "}]
DOUBLE = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}"


def doubling(start: str, step: str, end: str = "") -> str:
    """Return a template that doubles a value 60 times."""
    return DOUBLE.replace("START", start).replace("STEP", step) + end


def render(source: str, **values: object) -> str:
    """Render a template with a question and an answer."""
    return JinjaTemplate(source, {"bos_token": "<s>"}).render(MESSAGES, add_generation_prompt=True, **values)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_renders_as_in_transformers(name: str) -> None:
    """The text is that of transformers' own environment."""
    from transformers.utils import chat_template_utils

    library: Any = chat_template_utils
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    (expected,), _ = library.render_jinja_template(
        [MESSAGES], chat_template=FAMILIES[name].template, add_generation_prompt=True, **special
    )
    template = JinjaTemplate(FAMILIES[name].template, special)
    assert template.render(MESSAGES, add_generation_prompt=True) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | tojson }}",
        "{% generation %}{{ messages[-1].content | trim }}{% endgeneration %}",
        "{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 2 ** 3 %}{{ ns.a }}{{ (ns.a * 'x')[1:3] }}{{ [1] + [2] }}",
        "{% macro f(x, y=2) %}{{ x ~ y ~ loop }}{% endmacro %}{{ f(1) }}{{ f('a', y=none) }}",
        "{{ '%s of %d' % ('a', 3) }}{{ '{} {}'.format(1, 2) }}{{ '%s' | format('z') }}",
        "{{ messages[0].get('tools', []) }}{{ messages[0].items() | list }}{{ messages | length }}",
        "{{ 'b,a'.split(',') | sort | join('-') }}{{ 'x' in 'xyz' }}{{ ['a'] is iterable }}{{ x is defined }}",
        "{{ {'b': 1, 'a': [1, {'c': none}]} | tojson(indent=2) }}{{ 'é<' | tojson }}",
        "{%- for a, b in {'k': 1}.items() recursive %}{{ a }}{{ b }}{{ loop.last }}{% endfor %}",
        "{{ messages[1:] | length }}{{ messages[::-1][0].content }}{{ 1 if x else 2 }}{{ 'aXb' | replace('X', '-') }}",
        "{% filter upper %}{{ messages[0]['content'] }}{% endfilter %}{% set b %}q{{ 1 }}{% endset %}{{ b }}",
        "{{ [3, 1] | max }}{{ 'A b' | title }}{{ '  a' | indent(2, true) }}{{ '3' | int + 1 }}{{ none | default('d', true) }}",
    ],
)
def test_a_construct_renders_as_in_transformers(source: str) -> None:
    """The text is that of transformers' own environment."""
    from transformers.utils import chat_template_utils

    library: Any = chat_template_utils
    (expected,), _ = library.render_jinja_template([MESSAGES], chat_template=source, bos_token="<s>")  # noqa: S106
    assert (
        JinjaTemplate(source, {"bos_token": "<s>"}).render(MESSAGES, add_generation_prompt=False) == expected
    )


def test_the_date_is_that_of_the_system() -> None:
    """The format is strftime's."""
    assert render("{{ strftime_now('%Y') }}") == f"{datetime.now():%Y}"  # noqa: DTZ005 - as the template does


HOSTILE = [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(1000000000) if i < 0 %}{% endfor %}",
    "{% for i in range(10000000) %}" + "{% set a = messages %}" * 900 + "{% endfor %}",
    "x" * 20_000 + "{% for i in range(100000) %}" + "y" * 20_000 + "{% endfor %}",
    "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "{% for x in [1] recursive %}{{ loop(range(10**9)) }}{% endfor %}",
    "{% macro m(x) %}{{ m(x) }}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{% for i in range(10**9) %}{% set a = messages | map(attribute='content') | list %}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * [0] }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ 'a'.format_map({}) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.expandtabs(1000000000) }}",
    "{{ 'a' | indent(1000000000, true) }}",
    "{{ [1, 2] | tojson(indent=1000000000) }}",
    "{{ strftime_now('%1000000000Y') }}",
    "{{ lipsum(1000000) }}",
    "{{ range(10**9) | list }}",
    "{{ range(10**9) | sort }}",
    "{{ range(10**9) | join }}",
    "{{ range(10**9) | sum }}",
    "{{ range(10**9) | select('equalto', -1) | first }}",
    "{{ 9**9**9 }}",
    "{{ 2**60 * 2**60 * 2**60 }}",
    "{{ 9" + "9" * 5000 + " }}",
    doubling("'a'", "ns.x ~ ns.x"),
    doubling("'a'", "ns.x + ns.x"),
    doubling("'aaaa'", "ns.x | replace('a', 'aaaaaaaa')"),
    doubling("'aaaa'", "ns.x.replace('', 'aaaaaaaa')"),
    doubling("'aaaa'", "ns.x.join([ns.x, ns.x])"),
    doubling("'aaaa'", "[ns.x, ns.x] | join"),
    doubling("['a']", "ns.x + ns.x"),
    doubling("[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
    doubling("[1]", "[ns.x, ns.x]", "{{ ns.x | tojson }}"),
    doubling("[1]", "[ns.x, ns.x]", "{{ ns.x | string }}"),
    doubling("[1]", "{'a': ns.x, 'b': ns.x}", "{{ '%s' % ns.x }}"),
    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
    "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}"
    "{% set ns.x = y %}{% endfor %}",
    "{% set ns = namespace(d={}) %}{% for i in range(10**9) %}{% set ns.d = {'a': ns.d} %}{% endfor %}",
    "{% set a = 'a' * 1000000 %}{% for i in range(100000) %}{{ a == a ~ '' }}{% endfor %}",
    "{% set a = 'a' * 1000000 %}{% for i in range(100000) %}{% if a[1:] in a %}{% endif %}{% endfor %}",
    "{% set a = 'a' * 1000000 %}{% for i in range(100000) %}{% if a is lower %}{% endif %}{% endfor %}",
    "{% set a = ' a' * 1000000 %}{{ a.split() }}",
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ messages.__class__.__mro__ }}",
    "{{ messages | attr('__class__') }}",
    "{{ messages.append(1) }}",
    "{{ 'a'.encode() }}",
    "{{ range.__init__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{{ namespace(__class__=1) }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "{{ cycler(1) }}",
    "{% include 'x' %}",
    "{% import '/etc/passwd' as p %}",
    "{% extends 'x' %}",
    "{% block x %}{{ self.x() }}{% endblock %}",
    "{% if %}",
    "{{ 1 + }}",
    "{% for m in messages %}",
    "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "{{" + "(" * 20_000 + "1" + ")" * 20_000 + "}}",
    "{{" + "[" * 20_000 + "]" * 20_000 + "}}",
    "{{" + "+".join("1" * 20_000) + "}}",
    "{{" + "a," * 20_000 + "}}",
    "{{a}}" * 9_000,
    "{{ not " + "not " * 10_000 + "1 }}",
    "x" * 100_000,
]


@pytest.mark.usefixtures("frozen_heap")
@pytest.mark.parametrize("source", HOSTILE, ids=[f"{n}-{source[:30]}" for n, source in enumerate(HOSTILE)])
def test_a_hostile_template_is_one_error(source: str) -> None:
    """It ends with exit code 69 and a hint, in less than a second of CPU time and less than 64 MiB."""
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidTemplate) as error:
        render(source)
    assert time.process_time() - start < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 << 10
    assert error.value.exit_code == 69
    assert error.value.hint.startswith("choose another model")
    assert "\n" not in error.value.message


def test_raise_exception_is_a_refusal_without_control_characters() -> None:
    """The message of the template is in the error."""
    with pytest.raises(TemplateRefusal, match="no system role"):
        render("{{ raise_exception('no \x1b[2Jsystem role') }}".replace("\x1b[2J", ""))
    with pytest.raises(ModelUnavailable) as error:
        render("{{ raise_exception('a\x1b[2Jb\nc') }}")
    assert error.value.message.isprintable()


def test_a_long_conversation_has_a_budget_for_each_message() -> None:
    """2,000 messages of 1,000 characters render."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": "word " * 200} for i in range(2000)]
    for family in FAMILIES.values():
        text = JinjaTemplate(family.template, {"bos_token": "", "eos_token": ""}).render(
            messages, add_generation_prompt=True
        )
        assert len(text) > 1_900_000


def test_work_is_counted_in_units() -> None:
    """The units of a text do not depend on the time."""
    budget = Budget(1000)
    budget.join("", ["a" * 400])
    with pytest.raises(InvalidTemplate):
        budget.join("", ["a" * 600])
