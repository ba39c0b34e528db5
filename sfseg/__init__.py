"""Membrane maps of electron-microscopy stacks: fetch, train, predict, score.

The verbs are functions in modules of their names: `sfseg.fetch.fetch`, `sfseg.train.train`,
`sfseg.predict.predict_file`, `sfseg.score.score_files`. Importing `sfseg` itself imports neither
torch nor numpy.
"""

__version__ = "0.1.0"
