"""`--install-completion` and `--show-completion`, where Typer alone would do the wrong thing."""

from collections.abc import Sequence

import shellingham

from sfseg.errors import OptionError

PROGRAM = "sfseg"
"""What the shell completes, also after ``python -m sfseg --install-completion``."""

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def is_asked(args: Sequence[str]) -> bool:
    """Tell whether the arguments ask for completion."""
    return bool({"--install-completion", "--show-completion"}.intersection(args))


def require_shell() -> None:
    """Refuse a shell that Typer cannot complete in; raises OptionError."""
    try:
        shell, _ = shellingham.detect_shell()
    except shellingham.ShellDetectionFailure:
        shell = "unknown"
    if shell not in SHELLS:
        raise OptionError(
            f"completion: this shell is {shell}, which is not supported",
            hint="start bash, zsh, fish or PowerShell, and repeat the command there",
        )
