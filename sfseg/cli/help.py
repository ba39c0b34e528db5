"""The help of a command as plain text: options in named groups, examples at the end."""

import shlex
import textwrap
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sfseg.cli.console import explain_stdout_errors
from sfseg.cli.usage import in_our_words, refuse_arguments, refuse_empty
from sfseg.errors import UnknownNameError

NAME_COLUMNS = 22
"""Width of the names of options; a longer one has its sentence on the next line."""

OTHER = "Other options"
"""The group of options that name none, such as --help."""

_GIVEN = "sfseg.given"
"""Where a context keeps the arguments as they were typed."""

Row = tuple[str, str]


class Command(TyperCommand):
    """A command whose help groups its options by their ``rich_help_panel``.

    The groups are those of Typer, but the text is plain: Rich reads "[uint8]" as markup.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = tuple(args)  # Typer takes items out of the list
        ctx.allow_extra_args = True  # else Typer would refuse them, in its own words
        with explain_stdout_errors():  # it may print the help
            with in_our_words(ctx, args):
                extra = super().parse_args(ctx, args)
            ctx.meta[_GIVEN] = given
            refuse_arguments(extra, ctx)
            refuse_empty(given, ctx)
            return extra
        raise typer.Exit  # the reader of the help has left

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [p for p in self.get_params(ctx) if p.param_type_name == "argument"]
        return [
            self.options_metavar or "",
            *(str(a.metavar) if a.required else f"[{a.metavar}]" for a in arguments),
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        write_examples(self, formatter)


def describe_call(ctx: Any) -> str:
    """Write the command as it was typed, quoted for a shell."""
    return shlex.join([*ctx.command_path.split(), *ctx.meta[_GIVEN]])


class Group(TyperGroup):
    """The overview: whole first sentences of the commands, in the order of a person's work."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with explain_stdout_errors(), in_our_words(ctx, args):
            return super().parse_args(ctx, args)
        raise typer.Exit

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(limit=1000)))
        write_rows("Commands", rows, formatter, name_columns=8)
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        write_examples(self, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise UnknownNameError.from_known("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the arguments and the options, group by group."""
    groups: dict[str, list[Row]] = {}
    for param in command.get_params(ctx):
        record = describe_parameter(param, ctx)
        is_argument = param.param_type_name == "argument"
        title = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or OTHER
        if record is not None:
            groups.setdefault(title, []).append(record)
    for title, rows in groups.items():
        write_rows(title, rows, formatter)


def describe_parameter(param: Any, ctx: Any) -> Row | None:
    """Return the name and the sentence of a parameter; None if it is hidden."""
    record: Row | None = param.get_help_record(ctx)
    if record is None or param.param_type_name != "argument":
        return record
    return param.metavar, record[1]  # Typer appends the Python type to the name


def write_rows(
    title: str, rows: Iterable[Row], formatter: Any, *, name_columns: int = NAME_COLUMNS
) -> None:
    """Write names and sentences in two columns, aligned alike in every group."""
    formatter.write(f"\n{title}:\n")
    for name, sentence in rows:
        indent = " " * (name_columns + 4)
        lines = textwrap.wrap(
            " ".join(sentence.split()),
            formatter.width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if lines and len(name) <= name_columns:
            lines[0] = f"  {name:{name_columns}}  {lines[0].lstrip()}"
        else:
            lines.insert(0, f"  {name}")
        formatter.write("\n".join(lines) + "\n")


def write_examples(command: Any, formatter: Any) -> None:
    """Write the examples line by line, as they are to be typed."""
    if command.epilog:
        lines = (f"  {line}".rstrip() for line in command.epilog.strip().splitlines())
        formatter.write("\nExamples:\n" + "\n".join(lines) + "\n")
