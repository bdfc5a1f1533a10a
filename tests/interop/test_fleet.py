"""The benchmark of a large catalog, small: it runs, and fails for what it is there to find."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import snowpack

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.append(str(BENCH))

import fleet


def result(status="completed", mebibytes=71):
    return {"run": {"status": status, "error": None}, "peak_memory_mib": mebibytes}


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (result(), []),
        (result(mebibytes=1024), []),
        (result(mebibytes=1025), ["1025 MiB"]),
        (result(status="partial"), ["'partial'"]),
        (result(status="partial", mebibytes=2000), ["'partial'", "2000 MiB"]),
    ],
)
def test_it_fails_for_too_much_memory_and_for_a_run_that_is_not_complete(measured, said):
    wrong = fleet.complaints(measured)
    assert len(wrong) == len(said)
    assert all(words in sentence for words, sentence in zip(said, wrong, strict=True)), wrong


def test_a_small_catalog_is_looked_at_in_one_run():
    command = [sys.executable, str(BENCH / "fleet.py"), "--tables", "40", "--shapes", "2", "--appends", "2", "--every", "2"]
    environment = {**os.environ, "SNOWPACK_BIN": str(snowpack.binary())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(done.stdout)
    assert (measured["tables"], measured["run"]["status"], measured["run"]["jobs_submitted"]) == (40, "completed", 1)
