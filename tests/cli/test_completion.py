"""`--install-completion` writes what makes the shell complete commands and options."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import shellingham

from tests.cli.commands import fails, sfseg

PROGRAM = f"""#!/bin/sh
exec {sys.executable} -c "import sys; sys.argv[0] = 'sfseg'
from sfseg.cli import main; main()" "$@"
"""
FILES = {
    "bash": ".bash_completions/sfseg.sh",
    "zsh": ".zfunc/_sfseg",
    "fish": ".config/fish/completions/sfseg.fish",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def program(tmp_path):
    """A folder with the program `sfseg`, as an installation makes it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sfseg").write_text(PROGRAM)
    (folder / "sfseg").chmod(0o755)
    return folder / "sfseg"


def install(shell, monkeypatch):
    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, f"/bin/{shell}"))
    result = sfseg("--install-completion")
    assert result.exit_code == 0, result.output
    return result.stdout


def complete(program, script, shell, line):
    """Ask the program as the installed script of a shell does; give what it answers."""
    asked = re.search(rf"(\w+)=complete_{shell}", script)
    words = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = os.environ | words | {asked[1]: f"complete_{shell}"}
    return subprocess.run(
        [program], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_is_installed_completes_commands_and_options(shell, home, program, monkeypatch):
    said = install(shell, monkeypatch)
    script = (home / FILES[shell]).read_text()
    assert str(home / FILES[shell]) in said
    answers = complete(program, script, shell, "sfseg tr")
    assert "train" in answers
    assert "predict" not in answers
    answers = complete(program, script, shell, "sfseg train --ar")
    assert "--arch" in answers
    assert "--images" not in answers


def test_zsh_reads_the_folder_of_the_completion(home, monkeypatch):
    install("zsh", monkeypatch)
    assert "fpath+=~/.zfunc" in (home / ".zshrc").read_text()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [("sfseg tr", "train"), ("sfseg train --ar", "--arch"), ("sfseg train --arch un", "unet")],
)
def test_bash_completes_after_its_next_start(line, expected, home, program, monkeypatch):
    install("bash", monkeypatch)
    words = line.split()
    pressed = (
        f"source {home / '.bashrc'}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        'eval "$(complete -p sfseg | sed "s/.*-F //;s/ .*//") sfseg"; echo "${COMPREPLY[@]}"'
    )
    path = f"{program.parent}:{os.environ['PATH']}"
    shown = subprocess.run(
        ["bash", "-c", pressed],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == [expected], shown.stderr


def test_the_module_installs_the_completion_of_the_program(home, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/sfseg/__main__.py"])
    install("bash", monkeypatch)
    assert (home / FILES["bash"]).is_file()
    assert (home / ".bashrc").read_text().strip() == f"source '{home / FILES['bash']}'"


def test_a_shell_that_is_not_supported_and_a_home_that_is_not_writable_are_error_lines(monkeypatch):
    def detect():
        raise shellingham.ShellDetectionFailure

    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("fish", "/bin/fish"))
    assert fails("--install-completion").startswith("error: /proc/nowhere")
    monkeypatch.setattr(shellingham, "detect_shell", lambda: ("dash", "/bin/dash"))
    assert "this shell is dash" in fails("--install-completion", code=2)
    monkeypatch.setattr(shellingham, "detect_shell", detect)
    assert "this shell is unknown" in fails("--show-completion", code=2)
