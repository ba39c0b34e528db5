"""What the table of promises is measured with: hostile input, kills at random moments, full disks.

The default test suite takes samples of it. The full counts, an hour or so, from the repository's root::

    python -m tests.trust                     # all rows, and a table at the end
    python -m tests.trust tiffs --count 500   # one row, another count

Every input is made here from a seed; none is stored.
"""
