"""The documentation is complete, and says what the program says."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import torch
import typer.main

import sfseg
from sfseg import models
from sfseg.cli import app
from sfseg.models.weights import WEIGHTS_NAME, Header, load_weights, save_weights

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS = typer.main.get_command(app).commands
SHOWN = sorted(
    {
        line
        for page in PAGES
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line.startswith("sfseg ")
    }
)


def load_hooks():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "build_tools" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks


def test_the_navigation_names_each_page_once():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"([\w/-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_the_python_page_documents_the_public_names_and_no_others():
    page = (DOCS / "python.md").read_text()
    assert sorted(re.findall(r"^::: sfseg\.(\w+)$", page, re.MULTILINE)) == sfseg.__all__


def test_each_command_has_a_page_with_a_place_for_its_help():
    pages = {page.stem for page in (DOCS / "commands").glob("*.md")} - {"index"}
    assert pages == set(COMMANDS)
    for name in pages:
        assert "{{ help }}" in (DOCS / "commands" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_generated_help_names_every_option(name):
    help_text = load_hooks().render_help(name)
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts]
    assert options
    for option in options:
        if option.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text), option


def test_the_help_of_an_argument_has_its_name_and_no_type():
    usage, _, rest = load_hooks().render_help("predict").partition("\n```\n")
    assert usage == "```text\nsfseg predict [OPTIONS] INPUTS..."
    assert "| `INPUTS...` | Stacks: " in rest
    assert load_hooks().render_help("fetch").startswith("```text\nsfseg fetch [OPTIONS] [NAME]\n")


def test_an_option_in_a_sentence_is_not_broken():
    shown = load_hooks().on_page_content("<p><code>--close-gaps</code> 0.95 ± 0.01</p>")
    assert shown == '<p><code class="short">--close-gaps</code> 0.95&nbsp;±&nbsp;0.01</p>'


@pytest.mark.parametrize("line", SHOWN)
def test_each_shown_command_parses(line):
    name, *arguments = shlex.split(line, comments=True)[1:]
    assert name.startswith("--") or COMMANDS[name].make_context(name, arguments)


def test_the_model_card_has_at_most_80_lines():
    card = ROOT / "sfseg" / "weights" / "sfnet-isbi2012.md"
    assert len(card.read_text().splitlines()) <= 80


def test_pictures_are_small():
    pictures = list((DOCS / "images").iterdir())
    assert pictures
    assert all(picture.stat().st_size < 200_000 for picture in pictures)


def test_the_citation_has_the_version_of_the_package():
    assert f"\nversion: {sfseg.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_code_of_the_journal_makes_the_mean_of_two_networks(tmp_path, monkeypatch):
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "journal.md").read_text(), re.MULTILINE | re.DOTALL
    )
    for number, name in enumerate(("before", "after")):
        (tmp_path / name).mkdir()
        network = models.build("sfnet", seed=number)
        save_weights(tmp_path / name / WEIGHTS_NAME, network, Header("sfnet", "student"))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    mean, header = load_weights("mean.safetensors")
    biases = [models.build("sfnet", seed=number).output.bias for number in (0, 1)]
    assert torch.allclose(mean.output.bias, sum(biases) / 2)
    assert header.training["mean_with"]["weights"] == f"before/{WEIGHTS_NAME}"
