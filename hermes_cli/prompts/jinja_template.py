"""Renders the chat templates of models. They come from strangers, and run in a sandbox with limits."""

import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, cast

from jinja2 import TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS
from jinja2.utils import _PassArg
from jinja2.visitor import NodeTransformer

from hermes_cli.errors import first_line
from hermes_cli.prompts import template_functions as functions
from hermes_cli.prompts.template_budget import (
    CALL,
    STEP,
    UNITS,
    UNITS_PER_CHARACTER,
    UNITS_PER_MESSAGE,
    Budget,
    InvalidTemplate,
)

MAX_SOURCE: Final = 48 << 10
MAX_TOKENS: Final = 16_000
"""Tokens of a template's source, with those for spaces. Parsing more could take longer than a second."""
MAX_NODES: Final = 6_000
"""Nodes of a template's syntax tree, so that it compiles in less than a second and 32 MiB."""
# A template cannot name these filters, because their names begin with a space.
_ITERATE, _READ, _CONCAT, _SLICE = " iterate", " read", " concat", " slice"
_UNSUPPORTED = (
    *(nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport, nodes.Block),
    *(nodes.EvalContextModifier, nodes.ScopedEvalContextModifier),
)


_VARIABLES = ("_loop_vars", "_block_vars")
"""The arguments that jinja2 adds to each call in a loop or block."""


class TemplateRefusal(InvalidTemplate):
    """A chat template called raise_exception, for example because it has no system role."""

    def __init__(self, message: str) -> None:
        super().__init__(f"refuses the conversation: {message[:200]}")


class JinjaTemplate:
    """A chat template. `special_tokens` are the texts of `bos_token` and others.

    Raises InvalidTemplate if the template cannot be compiled.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        if len(source) > MAX_SOURCE:
            raise InvalidTemplate(f"has {len(source):,} characters; hermes reads {MAX_SOURCE:,}")
        self._special_tokens = dict(special_tokens)
        self._lock = threading.Lock()
        self._environment = _Environment()
        try:
            self._template = self._environment.from_string(source)
        except Exception as error:  # noqa: BLE001 - the template can make Python's compiler fail, too
            raise _as_invalid(error) from None

    def render(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool, **values: object
    ) -> str:
        """Return the text of a prompt. `values` are further variables of the template.

        Raises TemplateRefusal if the template calls raise_exception, and InvalidTemplate for another error.
        """
        characters = sum(len(text) for message in messages for text in message.values())
        units = UNITS + UNITS_PER_CHARACTER * characters + UNITS_PER_MESSAGE * len(messages)
        variables = {
            "tools": None,
            "documents": None,
            **self._special_tokens,
            **values,
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        with self._lock:
            self._environment.budget = Budget(units)
            try:
                return self._template.render(variables)
            except Exception as error:  # noqa: BLE001 - a template can make any operation fail
                raise _as_invalid(error) from None


def _as_invalid(error: Exception) -> InvalidTemplate:
    if isinstance(error, InvalidTemplate):
        return error
    return InvalidTemplate(f"cannot be used: {first_line(error)[:200]}")


class _Generation(Extension):
    """The tag `generation`, with which transformers marks the text of the model. It changes no text."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own type

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which each operation whose result can grow is charged to `budget`.

    jinja2 compiles loops, comparisons, `~` and slices to plain Python, so these become calls of filters.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        self.budget = Budget(UNITS)
        self.nodes = 0
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # it would evaluate constant expressions without limits
            extensions=[_Generation, loopcontrols],
            finalize=lambda value: functions.text_of(self.budget, value),
        )
        self.globals = {
            "range": range,
            "dict": functions.new_dict,
            "namespace": functions.TemplateNamespace,
            "strftime_now": functions.strftime_now,
            "raise_exception": _refuse,
        }
        self._callables = tuple(self.globals.values())
        self.filters = {name: self._filter(name) for name in functions.FILTERS} | self._operators()
        self.tests = {name: self._test(name, test) for name, test in JINJA_TESTS.items()}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if sum(1 for _ in islice(self.lex(source), MAX_TOKENS + 1)) > MAX_TOKENS:
            raise InvalidTemplate("is too complex")
        template = super()._parse(source, name, filename)
        self.nodes = sum(1 for _ in template.find_all(nodes.Node))
        if self.nodes > MAX_NODES:
            raise InvalidTemplate("is too complex")
        return cast("nodes.Template", _Transformer().visit(template))

    def concat(self, parts: Any) -> str:
        """Return the text of a block."""
        return self.budget.join("", parts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
        """Return the result of a binary operator."""
        return functions.binary(self.budget, operator, self.binop_table[operator], left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an allowed attribute, or an item of the message data."""
        if isinstance(obj, Undefined) or _is_allowed(obj, attribute):
            try:
                return getattr(obj, attribute)
            except AttributeError:
                return self.undefined(obj=obj, name=attribute)
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if not isinstance(obj, dict) and hasattr(obj, attribute):
            raise SecurityError(f"the attribute {attribute[:60]!r} is not allowed")
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item of the message data, or an allowed attribute."""
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(argument, str):
                return self.getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063
        """Call a macro, a loop, a global or an allowed method."""
        __self.budget.charge(CALL)
        if isinstance(__obj, Macro):
            __self.budget.charge(__self.nodes)
        elif isinstance(__obj, LoopContext):
            args = (__self.budget.counted(args[0], STEP + __self.nodes), *args[1:])
        elif isinstance(__obj, types.BuiltinMethodType) and _is_allowed(__obj.__self__, __obj.__name__):
            arguments = {name: value for name, value in kwargs.items() if name not in _VARIABLES}
            return functions.call_method(__self.budget, __obj, args, arguments)
        elif not (
            __obj in __self._callables
            or isinstance(__obj, Undefined)
            or isinstance(getattr(__obj, "__self__", None), LoopContext)
        ):
            raise SecurityError(f"{type(__obj).__name__} cannot be called")
        return __context.call(__obj, *args, **kwargs)

    def _filter(self, name: str) -> Any:
        """Return a filter. Because it needs a context, jinja2 does not evaluate it while it compiles."""
        own: dict[str, Any] = {
            "join": functions.join_texts,
            "tojson": functions.tojson,
            "format": functions.percent_format,
        }
        if name == "safe":
            return pass_context(lambda _context, value: value)

        @pass_context
        def run(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
            functions.check_filter(self.budget, name, value, args, kwargs)
            if name in functions.ITERATING:
                value = self._read_each(value) if name in functions.READING else self.budget.counted(value)
            if name == "format":
                return functions.percent_format(self.budget, value, kwargs or args)
            if name in own:
                return own[name](self.budget, value, *args, **kwargs)
            return JINJA_FILTERS[name](*_passed(JINJA_FILTERS[name], context), value, *args, **kwargs)

        return run

    def _read_each(self, values: Any) -> Iterator[Any]:
        for value in self.budget.counted(values):
            self.budget.read(value, weight=8)
            yield value

    def _test(self, name: str, test: Any) -> Any:
        @pass_context
        def run(context: Context, value: Any, *args: Any) -> bool:
            self.budget.charge(CALL)
            if name in functions.COMPARING:
                self.budget.read((value, args))
            return bool(test(*_passed(test, context), value, *args))

        return run

    def _operators(self) -> dict[str, Any]:
        def read(_context: Context, value: Any) -> Any:
            self.budget.read(value)
            return value

        def concat(_context: Context, values: list[Any]) -> str:
            return self.budget.join("", (functions.text_of(self.budget, value) for value in values))

        def cut(_context: Context, value: Any, *bounds: Any) -> Any:
            if isinstance(value, str | list | tuple):
                self.budget.charge(len(value) * (1 if isinstance(value, str) else STEP))
            return value[slice(*bounds)]

        def iterate(_context: Context, values: Any, units: int) -> Any:
            return self.budget.counted(values, units)

        operators: dict[str, Any] = {_READ: read, _CONCAT: concat, _SLICE: cut, _ITERATE: iterate}
        return {name: pass_context(function) for name, function in operators.items()}


def _refuse(message: object) -> None:
    raise TemplateRefusal(str(message))


def _is_allowed(obj: Any, attribute: str) -> bool:
    """Return whether a template may use an attribute of an object."""
    if isinstance(obj, functions.TemplateNamespace):
        return not attribute.startswith("_")
    if isinstance(obj, LoopContext):
        return attribute in functions.LOOP_ATTRIBUTES
    return attribute in functions.METHODS.get(type(obj), ())


def _passed(function: Any, context: Context) -> tuple[Any, ...]:
    """Return the argument that a filter or test of jinja2 takes before the value."""
    kinds = {
        _PassArg.context: context,
        _PassArg.eval_context: context.eval_ctx,
        _PassArg.environment: context.environment,
    }
    kind = _PassArg.from_obj(function)
    return () if kind is None else (kinds[kind],)


class _Transformer(NodeTransformer):
    """Replaces the operations that jinja2 compiles to plain Python with filters."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, _UNSUPPORTED):
            raise TemplateError(f"{type(node).__name__.lower()} is not supported")
        return super().generic_visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's naming
        units = STEP + sum(1 for _ in node.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _call(_ITERATE, node.iter, nodes.Const(units))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call(_CONCAT, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _call(_READ, node.expr)
        for operand in node.ops:
            operand.expr = _call(_READ, operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        none = partial(nodes.Const, None)
        bounds = [bound or none() for bound in (node.arg.start, node.arg.stop, node.arg.step)]
        return _call(_SLICE, node.node, *bounds)


def _call(name: str, value: Any, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)
