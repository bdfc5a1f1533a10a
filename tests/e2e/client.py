"""A caller of the deployed API: signs its requests, as the template's default authorization demands."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator import REGION

TERMINAL = ("completed", "failed", "cancelled")
# A cold start of the worker and a small rewrite take a few seconds; the rest is for a busy machine.
JOB_SECONDS = 180
POLL_SECONDS = 0.5


@dataclass
class Answer:
    """An HTTP response; header names in lower case."""

    status: int
    headers: dict
    body: object


class Client:
    """Calls the API at `url`, whose host name needs no resolver: the connection goes to 127.0.0.1."""

    def __init__(self, url):
        self._host = url.removeprefix("http://").rstrip("/")
        self._port = int(self._host.rsplit(":", 1)[1])

    def request(self, method, path, body=None, headers=None, signed=True):
        """Sends one request; `body` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self._port}{path}"
        given = {"Host": self._host, **({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})}
        if signed:
            request = AWSRequest(method, f"http://{self._host}{path}", data=data, headers=given)
            SigV4Auth(Credentials("test", "test"), "execute-api", REGION).add_auth(request)
            given = dict(request.headers)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, given, method=method), timeout=60) as response:
                return _answer(response.status, response)
        except urllib.error.HTTPError as error:
            return _answer(error.code, error)

    def get(self, path):
        return self.request("GET", path)

    def submit(self, table, actions, **members):
        """Submits maintenance of `database.table`."""
        path = "/tables/{}/{}/maintenance".format(*table.rsplit(".", 1))
        return self.request("POST", path, {"actions": actions, **members})

    def cancel(self, job_id):
        return self.request("POST", f"/jobs/{job_id}/cancel")

    def wait(self, job_id, until=TERMINAL):
        """Polls until the job is in one of the states `until`; returns the job."""
        deadline = time.monotonic() + JOB_SECONDS
        while True:
            job = self.get(f"/jobs/{job_id}").body
            if job["status"] in until:
                return job
            assert time.monotonic() < deadline, f"job still {job['status']} after {JOB_SECONDS} s: {job}"
            time.sleep(POLL_SECONDS)


def _answer(status, response):
    text = response.read()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status, headers, json.loads(text) if text else None)
