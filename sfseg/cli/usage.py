"""Usage errors of Typer in the grammar of sfseg: what is wrong, and one action that helps."""

import contextlib
import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import typer

from sfseg.errors import OptionError
from sfseg.system import files

UsageError: Any = typer.BadParameter.__bases__[0]
"""Typer's own error of wrong options and arguments, which it does not export."""

MOST_NAMED = 5
_NUMBERS = {int: "a whole number", float: "a number"}


@contextlib.contextmanager
def in_our_words(ctx: Any, args: Sequence[str]) -> Iterator[None]:
    """Turn a usage error of Typer in the block into an OptionError.

    Parameters
    ----------
    ctx : typer.Context
        The command, or the program.
    args : sequence of str
        What the command was called with.
    """
    given = tuple(args)  # Typer takes items out of the list
    try:
        yield
    except UsageError as error:
        raise explain(error, ctx, given) from error


def explain(error: Any, ctx: Any, args: Sequence[str]) -> OptionError:
    """Turn a usage error of Typer into one with our message and hint.

    Parameters
    ----------
    error : UsageError
        What Typer raised.
    ctx : typer.Context
        The command, or the program.
    args : sequence of str
        The arguments of the command, to quote a value that is wrong.
    """
    kind = type(error).__name__
    param: Any = getattr(error, "param", None)
    if kind == "NoSuchOption":
        return _explain_unknown_option(error.option_name, ctx)
    if kind == "BadOptionUsage":
        return _explain_value_or_none(error.option_name, ctx)
    if kind == "MissingParameter":
        is_argument = param.param_type_name == "argument"
        part = f"argument {param.metavar}" if is_argument else f"option {param.opts[0]}"
        return OptionError(f"the {part} is missing", hint=_example(ctx.command))
    if kind == "BadParameter" and param is not None:
        return _explain_value(error, param, ctx, args)
    message = error.format_message().rstrip(".")
    return OptionError(f"{message[:1].lower()}{message[1:]}", hint=_help(ctx))


def refuse_arguments(extra: Sequence[str], ctx: Any) -> None:
    """Refuse arguments that the command does not take; raises OptionError."""
    if extra:
        hint = files.suggest_quotes(extra) or _help(ctx)
        raise OptionError(f"unexpected argument: {_shorten(extra)}", hint=hint)


def _shorten(extra: Sequence[str]) -> str:
    """Write arguments in a line, the first few of many."""
    more = f" and {len(extra) - MOST_NAMED} more" if len(extra) > MOST_NAMED else ""
    return " ".join(extra[:MOST_NAMED]) + more


def refuse_empty(args: Sequence[str], ctx: Any) -> None:
    """Refuse values that are empty, and ``-o -``; raises OptionError.

    An empty path would be the current folder. It is often a variable of a script that is not set.
    """
    given, _, _ = ctx.command.make_parser(ctx).parse_args(list(args))
    for param in ctx.command.get_params(ctx):
        value = given.get(param.name)
        values = value if isinstance(value, list | tuple) else [value]
        is_argument = param.param_type_name == "argument"
        name = param.metavar if is_argument else param.opts[0]
        if any(isinstance(each, str) and not each.strip() for each in values):
            raise OptionError(
                f"{name}: its value is empty", hint="correct it; is a variable of a script not set?"
            )
        if param.name == "out" and value == "-":
            raise OptionError(
                f"{name}: the output cannot go to stdout", hint="name a file or a folder"
            )


def _explain_unknown_option(name: str, ctx: Any) -> OptionError:
    options = (option for param in ctx.command.get_params(ctx) for option in param.opts)
    known = {option.lstrip("-"): option for option in options}
    near = difflib.get_close_matches(name.lstrip("-"), known, n=1)
    hint = f"did you mean {known[near[0]]}?" if near else _help(ctx)
    return OptionError(f"no such option {name}", hint=hint)


def _explain_value_or_none(name: str, ctx: Any) -> OptionError:
    """Explain an option whose value is missing, or that has one but takes none."""
    (param,) = (param for param in ctx.command.get_params(ctx) if name in param.opts)
    if param.is_flag:
        return OptionError(f"{name}: takes no value", hint=f"write {name} alone")
    return OptionError(f"{name}: its value is missing", hint=f"{name} {param.metavar}")


def _explain_value(error: Any, param: Any, ctx: Any, args: Sequence[str]) -> OptionError:
    """Explain a value of the wrong type, or out of range."""
    name = param.opts[0]
    given, _, _ = ctx.command.make_parser(ctx).parse_args(list(args))
    value = given.get(param.name)
    expected, choices = describe_type(ctx.command.callback, param.name)
    message = f"must be {expected}, not {value!r}" if expected else error.message
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {name} {near[0]}?" if near else _help(ctx, f"explains {name}")
    return OptionError(f"{name}: {message}", hint=hint)


def describe_type(function: Any, name: str) -> tuple[str, tuple[str, ...]]:
    """Say which values a parameter of a command takes; the second item has its choices."""
    annotated = typing.get_type_hints(function, include_extras=True)[name]
    kind, info = annotated.__origin__, annotated.__metadata__[0]
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    kinds = typing.get_args(kind) if is_union else (kind,)
    for one in kinds:
        if typing.get_origin(one) is Literal:
            choices = typing.get_args(one)
            return f"one of {', '.join(choices)}", choices
        if one in _NUMBERS:
            return f"{_NUMBERS[one]}{_describe_range(info.min, info.max)}", ()
    return "", ()


def _describe_range(lowest: float | None, highest: float | None) -> str:
    if lowest is None:
        return "" if highest is None else f" up to {highest:g}"
    return f" from {lowest:g} " + ("up" if highest is None else f"to {highest:g}")


def _example(command: Any) -> str:
    """Take the first example of the help, without what it says beside it."""
    first = command.epilog.strip().splitlines()[0]
    return f"for example: {re.split(r'  +', first)[0]}"


def _help(ctx: Any, what: str = "lists all options") -> str:
    return f"{ctx.command_path} --help {what}"
