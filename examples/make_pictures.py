"""Draw the picture at the top of the README: a section, its probability map, its cells.

Predicts five sections of synthetic tissue with the shipped weights. Writes one small PNG and
prints its path and size, for example::

    docs/images/section-map-cells.png: 1176 x 384 pixels, 130 kB

Run it from the root of the repository, or name another file:
``python examples/make_pictures.py picture.png``.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

import sfseg

SECTIONS, SHOWN, SIDE_PX, GAP_PX = 5, 2, 384, 12
GREYS, COLOURS = 40, 21  # black, and the 20 colours of matplotlib's "tab20"

out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/section-map-cells.png")

volume, _ = sfseg.make_tissue((SECTIONS, SIDE_PX, SIDE_PX), seed=5)
probability = sfseg.predict(volume)  # (Z, Y, X), 1 = inside a cell
cells = sfseg.segment(probability)[SHOWN]  # found in all sections; 0 = membrane

# One palette for all: first the greys, then black and the colours, then nothing (the gaps).
palette = np.zeros((256, 3), np.uint8)
palette[:GREYS] = np.linspace(0, 255, GREYS).round()[:, None]
palette[GREYS + 1 : GREYS + COLOURS] = np.array(colormaps["tab20"].colors) * 255
nothing = GREYS + COLOURS


def grey(values: np.ndarray) -> np.ndarray:
    """Turn values in [0, 1] into numbers of the palette."""
    return np.rint(values * (GREYS - 1)).astype(np.uint8)


# Numbers spread over the palette give neighbouring cells different colours.
coloured = np.where(cells == 0, GREYS, GREYS + 1 + cells * 7 % (COLOURS - 1))
gap = np.full((SIDE_PX, GAP_PX), nothing)
panels = [grey(volume[SHOWN] / 255), gap, grey(probability[SHOWN]), gap, coloured]
pixels = np.hstack(panels).astype(np.uint8)
picture = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
picture.putpalette(palette.tobytes())

draw = ImageDraw.Draw(picture)
font = ImageFont.load_default(size=20)
for place, name in enumerate(("section", "probability: white = inside", "cells")):
    left = place * (SIDE_PX + GAP_PX)
    _, _, right, bottom = draw.textbbox((left + 10, 8), name, font=font)
    draw.rectangle((left, 0, right + 10, bottom + 8), fill=0)
    draw.text((left + 10, 8), name, font=font, fill=GREYS - 1)

out.parent.mkdir(parents=True, exist_ok=True)
picture.save(out, optimize=True, transparency=nothing)
print(f"{out}: {picture.width} x {picture.height} pixels, {out.stat().st_size / 1000:.0f} kB")
