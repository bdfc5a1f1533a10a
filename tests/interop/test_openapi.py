"""The server keeps the contract of its OpenAPI document, whatever it is sent (schemathesis)."""

import os
import re
import subprocess
from pathlib import Path

import tables
from lake import Catalog
from server import Server

_HOME = Path(os.environ.get("SNOWPACK_TEST_HOME", Path.home() / ".cache" / "snowpack-tests"))
# What an answer must be: no server error, and a status, type and body that the document names for the request.
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
_EXAMPLES = 40
# Generation is seeded, so that a failure comes back.
_SEED = 20
_SECONDS = 420


def test_no_request_breaks_the_contract(sound_lake: Catalog, tmp_path: Path):
    table = tables.unpartitioned(sound_lake, "contract.shop")
    with Server(sound_lake, tmp_path / "state") as server:
        # Something to find for requests that guess names and ids from the document's examples.
        server.wait(server.submit(table.name, "rewrite_data_files"))
        done = subprocess.run(
            [
                str(_HOME / "audit" / "bin" / "schemathesis"), "--config-file", str(_config(tmp_path)), "run",
                f"{server.url}/openapi.json", "--checks", _CHECKS, "--max-examples", str(_EXAMPLES),
                "--seed", str(_SEED), "--request-timeout", "30", "--no-color",
            ],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_SECONDS,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    selected, tested = re.search(r"Selected: (\d+)/\d+\s+Tested: (\d+)", done.stdout).groups()
    assert selected == tested and int(tested) > 15, done.stdout[-2000:]


def _config(folder: Path) -> Path:
    """The table is one that exists. Drain mode would answer everything else with 503 for the rest of the run; it has
    tests of its own."""
    path = folder / "schemathesis.toml"
    path.write_text(
        '[parameters]\n"path.database" = "contract"\n"path.table" = "shop"\n'
        '[[operations]]\ninclude-name = "PUT /drain"\nenabled = false\n'
    )
    return path
