"""Runs `snowpack serve` on a free port and talks to it over HTTP."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import snowpack
from lake import Catalog

TERMINAL = ("completed", "failed", "cancelled")
# A start and a job of these small tables take seconds; the rest is for a busy machine.
_PATIENCE_SECONDS = 120


class Server:
    """A local server; killed at the end of the `with` block."""

    def __init__(self, catalog: Catalog, state: Path, crash_at: str | None = None, workers: int = 1):
        self._command = [
            str(snowpack.binary()), "serve", "--listen", "127.0.0.1:0", "--state", str(state),
            "--workers", str(workers), *catalog.flags,
        ]  # fmt: skip
        self._environment = {**os.environ, **({"SNOWPACK_CRASH_AT": crash_at} if crash_at else {})}

    def __enter__(self) -> "Server":
        self._process = subprocess.Popen(self._command, env=self._environment, stderr=subprocess.PIPE, text=True)
        for line in self._process.stderr:
            if "listening on " in line:
                self.url = line.split()[-1]
                return self
        raise AssertionError(f"the server did not start: {self._process.wait()}")

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()

    def request(self, method: str, path: str, body: object = None, headers: dict | None = None) -> tuple[int, object]:
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def submit(self, table: str, *actions: str, **members: object) -> str:
        """Submits maintenance of `namespace.table`; returns the job's id."""
        path = "/tables/{}/{}/maintenance".format(*table.rsplit(".", 1))
        status, job = self.request("POST", path, {"actions": actions, **members})
        assert status == 202, job
        return job["job_id"]

    def wait(self, job_id: str) -> dict:
        """The job once it has ended."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            _, job = self.request("GET", f"/jobs/{job_id}")
            if job["status"] in TERMINAL:
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.1)

    def was_killed(self) -> bool:
        """Waits for the process to end by itself; whether SIGKILL ended it."""
        return self._process.wait(timeout=_PATIENCE_SECONDS) == -signal.SIGKILL

    def memory_mib(self) -> float:
        """Resident memory of the process now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(kilobytes) / 1024
