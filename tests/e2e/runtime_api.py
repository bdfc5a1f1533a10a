"""Runs a function's binary as Lambda does, for one event, and keeps what it prints. The emulator throws that away."""

import http.server
import os
import subprocess
import threading
import time

REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
ANSWER_SECONDS = 60


def lines_of(binary, environment, event):
    """The lines on standard output of one invocation with `event`, which is JSON as bytes."""
    api = _RuntimeApi(event)
    variables = {
        **environment,
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    }
    process = subprocess.Popen([binary], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        api.answered.wait(ANSWER_SECONDS)
    finally:
        process.kill()
        output, _ = process.communicate()
        api.close()
    assert api.answered.is_set(), output
    return output.splitlines()


class _RuntimeApi(http.server.ThreadingHTTPServer):
    """Lambda's runtime API with one invocation to give."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, event):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events = [event]
        self.answered = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.server.events:
            # The next invocation never comes.
            time.sleep(ANSWER_SECONDS)
            return
        body = self.server.events.pop()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Lambda-Runtime-Aws-Request-Id", REQUEST_ID)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + ANSWER_SECONDS * 1000))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:function")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.answered.set()

    def log_message(self, *_):
        """Says nothing."""
