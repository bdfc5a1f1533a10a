"""Runs a command beside a fresh emulator and tells it where: `with_emulator.py cargo test ...`.

The command gets `SNOWPACK_TEST_AWS_ENDPOINT` and credentials that the emulator takes; nothing else is changed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from emulator import CREDENTIALS, Emulator


def main(command):
    with tempfile.TemporaryDirectory() as folder, Emulator(Path(folder)) as emulator:
        environment = {**os.environ, **CREDENTIALS, "SNOWPACK_TEST_AWS_ENDPOINT": emulator.endpoint}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
