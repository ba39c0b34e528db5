"""`sfseg view`: look at stacks, in a page, a picture, or Neuroglancer."""

import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfseg.cli.checks import require_inputs
from sfseg.cli.console import print_result, say
from sfseg.cli.options import INPUT, OUTPUT, AxesOption, OverwriteOption, PixelSizeOption
from sfseg.cli.progress import progress
from sfseg.errors import OptionError
from sfseg.types import describe_shape, parse_pixel_size, parse_sections

if TYPE_CHECKING:
    from sfseg.report.layers import Layer, Source

EXAMPLES = """
sfseg view stack.tif map.tif --open
sfseg view stack.tif map.tif cells.tif -o look.png --sections 1,5
sfseg view huge.zarr map.zarr --neuroglancer
"""

PAGE, PICTURE = ".html", ".png"
ENDING = f".view{PAGE}"


def view(
    stacks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STACKS...",
            help="Stacks of the same sections: an image, maps or masks of it, numbered cells. What "
            "each is, is found from its values, and said.",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            metavar="STACK",
            help="One more stack, which is an image.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="STACK",
            help="One more stack, which is a map or a mask: 0 is membrane.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="STACK",
            help="One more stack, which has numbers of cells.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Show only these sections, e.g. 25-30; the first one is 1.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    axes: AxesOption = None,
    pixel_size: PixelSizeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="NAME.html: a page with all sections, which works without a network. NAME.png: a "
            f"picture of some. [default: the name of the first stack, with {ENDING}, in this "
            "folder]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    open_it: Annotated[
        bool,
        typer.Option("--open", help="Open it in the web browser.", rich_help_panel=OUTPUT),
    ] = False,
    neuroglancer: Annotated[
        bool,
        typer.Option(
            "--neuroglancer",
            help="Write nothing: serve stacks of any size to a browser on this machine, until "
            "Ctrl-C. Needs the extra neuroglancer.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Look at stacks, maps and cells: in a page, a picture, or Neuroglancer."""
    from sfseg.report.layers import Source, open_layers

    sources = [Source(path, axes=axes) for path in stacks or ()]
    sources += [Source(path, "image", axes) for path in images or ()]
    sources += [Source(path, "map", axes) for path in maps or ()]
    sources += [Source(path, "labels", axes) for path in labels or ()]
    target = None if neuroglancer else choose_output(out, sources)
    if not sources:
        raise OptionError("view: no stack is named", hint="sfseg view stack.tif map.tif")
    if neuroglancer and (out or sections):
        other = "-o" if out else "--sections"
        raise OptionError(
            f"--neuroglancer shows all sections and writes nothing: it does not work with {other}",
            hint=f"leave {other} out",
        )
    require_inputs(source.path for source in sources)
    if target is not None:
        from sfseg.io.outputs import require_output

        require_output(target, [source.path for source in sources], overwrite=overwrite)
    with open_layers(sources, pixel_size_nm=parse_pixel_size(pixel_size)) as layers:
        chosen = parse_sections(sections, len(layers[0].stack)) if sections else None
        for layer in layers:
            say(f"{layer.describe()} ({layer.stack.describe()})")
        if target is None:
            serve(layers, open_it=open_it)
            return
        write(target, layers, chosen, overwrite=overwrite)
    print_result(target)
    if open_it:
        show_in_browser(target.resolve().as_uri())


def choose_output(out: Path | None, sources: "Sequence[Source]") -> Path:
    """Decide what to write; a name of another kind raises OptionError."""
    if out is None:
        return Path(default_name(sources[0].path) if sources else ENDING)
    if out.suffix.lower() not in (PAGE, PICTURE):
        raise OptionError(
            f"{out}: the name of the output must end in {PAGE} (a page) or {PICTURE} (a picture)",
            hint=f"name it {out.with_suffix(PAGE)}",
        )
    return out


def default_name(source: str) -> str:
    """Name the page after a stack: ``stack.view.html``; of a pattern, after its folder."""
    from sfseg import io

    path = io.container(source)
    plain = [part for part in path.parts if not any(mark in part for mark in "*?[")]
    return f"{Path(plain[-1]).stem if plain else 'stack'}{ENDING}"


def write(
    target: Path, layers: "Sequence[Layer]", sections: Sequence[int] | None, *, overwrite: bool
) -> None:
    """Write a page or a picture, and say what is not shown."""
    if target.suffix.lower() == PICTURE:
        from sfseg.report.preview import write_preview

        write_preview(target, layers, sections=sections, overwrite=overwrite)
        return
    from sfseg.report.view_page import write_view_page

    say(f"writing {target}: {describe_shape(layers[0].stack.shape)}")
    with progress(f"writing {target}") as bar:
        notes = write_view_page(
            target,
            layers,
            sections=sections,
            overwrite=overwrite,
            on_section=lambda done: bar.update(done, None, f"{done} sections read"),
        )
    for note in notes:
        say(note)
    if notes:
        say("hint: --neuroglancer shows all of it, in full size")


def serve(layers: "Sequence[Layer]", *, open_it: bool) -> None:
    """Serve the stacks until Ctrl-C."""
    from sfseg.report.serve import Neuroglancer

    with Neuroglancer(layers) as server:
        say("serving at an address that only this machine can open; Ctrl-C ends it")
        print_result(server.url)
        if open_it:
            show_in_browser(server.url)
        while True:
            time.sleep(60)


def show_in_browser(address: str) -> None:
    """Open an address in the web browser of the user."""
    if not webbrowser.open(address):
        say(f"warning: no web browser was found here; open it yourself: {address}")
