"""What the table of promises is measured with: hostile input, kills at random moments, full disks.

The default tests take samples of it. The full counts, two hours or so, from the root of the clone::

    python -m tests.trust                     # all rows, and a table at the end
    python -m tests.trust tiffs --count 500   # one row, another count

Every input is made here from a seed; none is stored.
"""
