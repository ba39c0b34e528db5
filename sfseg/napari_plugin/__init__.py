"""sfseg in napari: read stacks into layers, predict, number cells, and score, in its window."""
