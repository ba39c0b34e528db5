"""Draw docs/images/napari.png: the window of napari with the sample, its map, cells and scores.

Needs ``pip install '.[napari]'`` and a display. Run it from the root of the repository:
``xvfb-run -s "-screen 0 1500x950x24" python docs/build_tools/napari_picture.py``.
"""

import sys
import time
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtWidgets import QApplication

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/napari.png")
SIZE_PX = (1400, 880)
COLOURS = 128  # a palette keeps the file small
LONGEST_S = 600


def run(widget: object) -> None:
    """Press the button of a widget, and wait for the end of its work."""
    widget.start()
    deadline = time.monotonic() + LONGEST_S
    while widget.worker is not None and time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.01)


viewer = napari.Viewer()
viewer.window.resize(*SIZE_PX)
viewer.open_sample("sfseg", "tissue")
docks = {
    name: viewer.window.add_plugin_dock_widget("sfseg", name, tabify=True)
    for name in ("Predict", "Cells", "Score")
}
predict, cells, score = (docks[name][1] for name in ("Predict", "Cells", "Score"))
predict.image.value = viewer.layers["tissue"]
run(predict)
cells.map.value = viewer.layers["tissue map"]
run(cells)
score.map.value, score.truth.value = viewer.layers["tissue map"], viewer.layers["tissue labels"]
run(score)

viewer.layers["tissue map"].visible = False
viewer.layers["tissue cells"].opacity = 0.3
viewer.layers["tissue map errors"].opacity = 1
viewer.scale_bar.visible = True
viewer.reset_view()
viewer.dims.set_current_step(0, score.error.choices[0].section - 1)
docks["Score"][0].raise_()
for _ in range(20):
    QApplication.processEvents()
    time.sleep(0.05)
picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3])
picture.quantize(COLOURS, dither=Image.Dither.NONE).save(OUT, optimize=True)
viewer.close()
