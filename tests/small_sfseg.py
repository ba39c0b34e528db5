"""The command with the small network in the place of SF network, for tests that start a process."""

from sfseg import cli, models
from tests.networks import Small

if __name__ == "__main__":
    models.ARCHITECTURES = {**models.ARCHITECTURES, "sfnet": Small}
    cli.main()
