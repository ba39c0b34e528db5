"""Whether the folder of a comparison is free; known without torch."""

from sfseg.config import COMPARISON_NAME, CompareConfig
from sfseg.errors import OutputExistsError
from sfseg.system import files


def refuse_existing(config: CompareConfig) -> None:
    """Refuse a folder that holds a comparison, or trainings of something else.

    Raises
    ------
    OutputExistsError
        If it is a file; if it holds trainings but no comparison; or if it holds a comparison and
        ``config.resume`` is False.
    OutputError
        If the system cannot tell.
    """
    files.refuse_file(config.out)
    path = config.out / COMPARISON_NAME
    if path.is_file() and not config.resume:
        raise OutputExistsError(
            f"{config.out}: holds a comparison already ({COMPARISON_NAME})",
            hint="--resume continues it, --out names another folder",
        )
    other = next(config.out.glob("*-seed[0-9]*"), None)
    if not path.is_file() and other is not None:
        raise OutputExistsError(
            f"{config.out}: holds trainings of something else ({other.name})",
            hint="--out names another folder",
        )
