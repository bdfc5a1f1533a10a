"""Starts the Java REST catalog of java/RestCatalogServer.java and plans its faults."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pyspark

from spark import JNI, test_home


class RestServer:
    """A REST catalog on a free port of 127.0.0.1, alive inside a `with` block."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.warehouse = home / "warehouse"

    def __enter__(self) -> "RestServer":
        self.home.mkdir()
        classes = [test_home() / "restserver", test_home() / "jars/*", Path(pyspark.__file__).parent / "jars/*"]
        words = ["java", "-Xmx512m", f"-Djava.library.path={JNI}", "-cp", ":".join(map(str, classes)), "RestCatalogServer", f"file://{self.warehouse}"]
        self.log = open(self.home / "log", "w")
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=self.log, text=True)
        port = self.process.stdout.readline().strip()
        assert port, f"the REST catalog did not start: {(self.home / 'log').read_text()}"
        self.uri = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def fail_commits(self, status: int, applied: bool = False, times: int = 1) -> None:
        """The next commits answer `status`, and are applied nevertheless or not."""
        plan = json.dumps({"status": status, "applied": applied, "times": times}).encode()
        urllib.request.urlopen(f"{self.uri}/faults", plan, timeout=10).close()

    def tokens(self) -> int:
        """How many tokens were handed out."""
        with urllib.request.urlopen(f"{self.uri}/tokens", timeout=10) as answer:
            return json.load(answer)["tokens"]

    def commits(self) -> int:
        """How many table commits have arrived."""
        with urllib.request.urlopen(f"{self.uri}/commits", timeout=10) as answer:
            return json.load(answer)["commits"]
