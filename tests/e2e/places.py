"""Where the tests find what others made: tools of `tests/setup`, binaries of `cargo build --release`."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
TEST_HOME = Path(os.environ.get("SNOWPACK_TEST_HOME") or CACHE / "snowpack-tests")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")


def tool(environment, name):
    """A program that `tests/setup` installed into one of its environments."""
    return _existing(TEST_HOME / environment / "bin" / name, "run tests/setup")


def binary(name):
    """A release binary of this workspace."""
    return _existing(TARGET / "release" / name, "run tests/run build")


def _existing(path, remedy):
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy}")
    return path
