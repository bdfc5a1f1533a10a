"""A fresh PostgreSQL server; and runs a command beside one and tells it where: `postgres.py cargo test ...`.

The command gets `SNOWPACK_TEST_POSTGRES`, the address of a superuser, and `SNOWPACK_TEST_POSTGRES_CA`, the authority
that vouches for the server as `localhost`. Members of the role `encrypted_only` get in by TLS alone.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# Debian's server; its programs are not on the path.
PROGRAMS = Path("/usr/lib/postgresql")
PASSWORD = "superuser"
ACCESS = """
local all all trust
hostnossl all +encrypted_only 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""


def program(name):
    found = shutil.which(name) or next((str(path) for path in sorted(PROGRAMS.glob(f"*/bin/{name}"), reverse=True)), None)
    return found or sys.exit(f"postgres: there is no {name}: run tests/setup postgres")


def unprivileged(words):
    """The server refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def certify(home):
    """A certificate for localhost that vouches for itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", home / "server.key", "-out", home / "server.crt"],
        check=True, capture_output=True)
    (home / "server.key").chmod(0o600)


class Postgres:
    """A server on a free port of 127.0.0.1, alive inside a `with` block."""

    def __init__(self, home):
        self.home, self.data, self.port = home, home / "data", free_port()
        self.address = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        certify(self.home)
        (self.home / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (self.home, *self.home.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self.run(program("initdb"), "-D", self.data, "-U", "postgres", "-A", "scram-sha-256", "--no-sync",
                 f"--pwfile={self.home}/password")
        (self.data / "pg_hba.conf").write_text(ACCESS)
        settings = {
            "port": self.port, "listen_addresses": "'127.0.0.1'", "unix_socket_directories": f"'{self.home}'",
            "ssl": "on", "ssl_cert_file": f"'{self.home}/server.crt'", "ssl_key_file": f"'{self.home}/server.key'",
            "fsync": "off", "max_connections": 200,
        }
        with open(self.data / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        self.run(program("pg_ctl"), "-D", self.data, "-l", self.home / "log", "-w", "start")
        self.run(program("psql"), "-h", self.home, "-p", self.port, "-U", "postgres", "-c", "CREATE ROLE encrypted_only")
        return self

    def __exit__(self, *_):
        self.run(program("pg_ctl"), "-D", self.data, "-m", "immediate", "stop")

    def run(self, *words):
        # Not into a pipe: the server keeps what it inherits open.
        with open(self.home / "output", "a") as output:
            done = subprocess.run(unprivileged([str(word) for word in words]), cwd=self.home, stdout=output, stderr=output)
        if done.returncode:
            sys.exit(f"postgres: {words[0]} failed:\n{(self.home / 'output').read_text()}")


def main(command):
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder)) as server:
        environment = {
            **os.environ,
            "SNOWPACK_TEST_POSTGRES": server.address,
            "SNOWPACK_TEST_POSTGRES_CA": str(server.home / "server.crt"),
        }
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
