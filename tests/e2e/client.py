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
    """Calls the API whose URL the stack gave, by the emulator's path for it: the host name of that URL needs a
    resolver, and as a Host header it ends in a number and so is no valid name."""

    def __init__(self, url):
        api_id, _, emulator = url.removeprefix("http://").rstrip("/").partition(".execute-api.")
        self._url = f"http://{emulator}/_aws/execute-api/{api_id}/$default"

    def request(self, method, path, body=None, headers=None, signed=True):
        """Sends one request; `body` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {**({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})}
        if signed:
            request = AWSRequest(method, self._url + path, data=data, headers=given)
            SigV4Auth(Credentials("test", "test"), "execute-api", REGION).add_auth(request)
            given = dict(request.headers)
        request = urllib.request.Request(self._url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
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
