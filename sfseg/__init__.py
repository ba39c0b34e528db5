"""Membrane maps of electron-microscopy stacks: fetch, train, predict, score.

The rooms, from the top down; a room imports from the rows below its own only::

    cli                                    the command line, a file for each command
    comparison   benchmark                 networks compared; speed measured
    training                               from stacks with labels to weights
    prediction   scoring   datasets        from a stack to a map; how good it is; data by name
    io   models   transforms               image files; networks; grey values and orientations
    system                                 files, locks, devices
    config recipes identity types errors   leaves
"""

__version__ = "0.1.0"
