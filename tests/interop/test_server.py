"""The local server and the commands that talk to it."""

import subprocess
from pathlib import Path

import snowpack
import tables
from lake import Catalog
from server import Server


def command(server: Server, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(snowpack.binary()), *words, "--api", server.url], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_drain_is_turned_from_the_command_line(lake: Catalog, tmp_path: Path):
    table = tables.unpartitioned(lake, "server.drained")
    submit = ("submit", table.name, "rewrite_data_files", "--wait", "--poll-seconds", "1")
    with Server(lake, tmp_path / "state") as server:
        assert command(server, "drain") == (0, "drain mode is off\n")
        assert command(server, "drain", "on", "--reason", "moving house") == (0, "drain mode is on: moving house\n")
        assert command(server, "drain") == (0, "drain mode is on: moving house\n")
        code, said = command(server, *submit)
        assert code == 3 and "moving house" in said, said
    # The switch is in the store, not in the process.
    with Server(lake, tmp_path / "state") as server:
        assert command(server, *submit)[0] == 3
        assert command(server, "drain", "off") == (0, "drain mode is off\n")
        code, said = command(server, *submit)
        assert code == 0 and "completed" in said, said
        code, said = command(server, "drain", "sideways")
        assert code == 2 and "'sideways'" in said, said
