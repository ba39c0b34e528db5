"""Hooks of MkDocs: write the options of each command into its page, and keep lines together.

A page under ``commands/`` says ``{{ help }}`` where the usage, the options and the examples of the
command of its name belong. Nothing is copied by hand, so no page can fall behind the program.
"""

import re
from typing import Any

import typer.main

from sfseg.cli import app
from sfseg.cli.help import describe_parameter

PLACE = "{{ help }}"


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """Fill in the help of a command's page; called by MkDocs for every page."""
    folder, _slash, name = page.file.src_uri.removesuffix(".md").rpartition("/")
    if folder != "commands" or name == "index":
        return markdown
    return markdown.replace(PLACE, render_help(name))


def on_page_content(html: str, **_: object) -> str:
    """Keep short code and a value with its deviation on one line; called for every page."""
    html = re.sub(r"<code>([^<]{1,30})</code>", r'<code class="short">\1</code>', html)
    return html.replace(" ± ", "&nbsp;±&nbsp;")


def render_help(name: str) -> str:
    """Write the help of a command as Markdown: usage, a table for each group, examples."""
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["sfseg", name, *command.collect_usage_pieces(context)])
    parts = [f"```text\n{usage}\n```"]
    for title, rows in group_parameters(command, context).items():
        table = [f"| {title} | |", "|---|---|"]
        table += [f"| `{left}` | {escape(right)} |" for left, right in rows]
        parts += ['<div class="options" markdown>', "\n".join(table), "</div>"]
    if command.epilog:
        parts.append(f"```text\n{command.epilog.strip()}\n```")
    return "\n\n".join(parts)


def group_parameters(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """Sort the names and helps of the parameters by the group that the help shows them in."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = describe_parameter(parameter, context)
        if record is None or parameter.name == "help":  # hidden, or the help itself
            continue
        is_argument = parameter.param_type_name == "argument"
        title = "Arguments" if is_argument else "Options"
        title = getattr(parameter, "rich_help_panel", None) or title
        left, right = record
        groups.setdefault(title, []).append((left.replace("|", "\\|"), right))
    return groups


def escape(text: str) -> str:
    """Keep a help's text from being read as Markdown or HTML."""
    for character in "\\`*_{}[]|#":
        text = text.replace(character, f"\\{character}")
    text = text.replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())
