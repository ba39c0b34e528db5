"""Membrane maps of electron-microscopy stacks: fetch, train, predict, score.

The verbs are functions in modules of their names: `sfseg.datasets.fetch.fetch`, `sfseg.training.train.train`,
`sfseg.prediction.predict.predict`, `sfseg.scoring.score.score_files`. Importing `sfseg` itself imports neither torch
nor numpy.

The house, from the roof down; imports point down only::

    cli/            parse, call, print: a file for each command
    fetch train predict score compare bench  the verbs; three call others: train calls fetch, bench
                    predict and train, and compare the four before it
    comparison/     protocol, results, table and picture of a comparison
    saving          when a training is made durable
    trainer         a training under way: steps, epochs, validation, state
      progress        how far it is: its steps and epochs     chores     what may wait
      learner         what learns: gradients and update of a step
      learning        loss, optimiser, learning rate, average of the weights
      affinities      which pixels share a cell, learnt too   muon       steps for kernels
      samples         the patches of an epoch                 augment    what is done to a patch
      distributed     several processes that train one network
      replay          steps recorded once, which a GPU then repeats
      start           random weights, or those of another training
      teaching        sections without labels, marked by trained networks
      sections        training data, and what is held out
        pairs           which labels belong to which images
        splits          which sections train, which are held out
        census          what is in them, and what looks wrong
      plots           training curves
    jobs            what becomes what in a prediction
    prediction      a prediction under way
      ready           a network read from disk, and what runs it
      pieces          tiles of sections, read                 outputs    and written
      gaps            closed in the membranes of a section
      plans           tiles and memory, told before           records    what was done, told after
      pipeline        threads that read ahead and write behind
    rates           how fast a machine is
      underway        an output that can be stopped and gone on with
      identities      what decides a result, and how two of them differ
    predictor       a network made ready for sections of any size
      engines/        a network made to run fast on a device  devices    which, and its memory
      tiles           how a section is cut                    normalise  grey values and sizes
    metrics         V_Rand, V_Info, Dice, Jaccard of a stack
      sweep           one section at all thresholds           contingency  overlaps of segments
      thinning        the border-thinning flood
    datasets        the table of datasets                     catalogue  its types
    delivery/       download, unpack, verify, put in place    tissue     the synthetic stack
    checkpoints     weights on disk                           models/    the three networks
      headers         what they say of themselves            states    the state of a training
      tensors         safetensors, checked before they are read
    io              the only door to image files; behind it images/
    files           files that are whole or not there        locks      one process at a time
    launch          which of several processes this one is
    errors terms config recipes     leaves: no torch, nothing else of sfseg
"""

__version__ = "0.1.0"
