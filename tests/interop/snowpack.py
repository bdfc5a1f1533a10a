"""Runs the snowpack binary and reads its answer."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lake import Table

_CHECKOUT = Path(__file__).resolve().parents[2]
# No run of these small tables takes a minute; one that does hangs.
_TIMEOUT_SECONDS = 120


def binary() -> Path:
    """The binary under test: SNOWPACK_BIN, else the release build of this checkout."""
    path = Path(os.environ.get("SNOWPACK_BIN", _CHECKOUT / "target/release/snowpack"))
    assert path.exists(), f"{path} is not there: cargo build --release -p snowpack-cli, or set SNOWPACK_BIN"
    return path


@dataclass
class Outcome:
    """What one run said."""

    code: int
    document: dict | None
    stderr: str

    @property
    def results(self) -> list[dict]:
        return self.document["results"]

    @property
    def message(self) -> str:
        """The message of the only action."""
        (result,) = self.results
        return result["message"]

    @property
    def said(self) -> str:
        """Everything a person would see."""
        return json.dumps(self.document, ensure_ascii=False) + "\n" + self.stderr

    def completed(self) -> "Outcome":
        assert self.code == 0 and self.document["status"] == "completed", self.said
        assert all(result["success"] and result["error"] is None for result in self.results), self.said
        return self

    def failed(self) -> "Outcome":
        assert self.code != 0, self.said
        assert self.document is None or self.document["status"] == "failed", self.said
        assert "panicked" not in self.stderr, self.said
        return self


def command(table: Table, *actions: str, options: Mapping[str, object] | None = None, dry_run: bool = False) -> list[str]:
    """The command line of a run. Options are keyed ACTION.KEY, or KEY alone when there is one action."""
    words = [str(binary()), "run", table.name, *actions, "--json", *table.catalog.flags]
    for key, value in (options or {}).items():
        qualified = key if key.split(".")[0] in actions else f"{actions[0]}.{key}"
        words += ["--option", f"{qualified}={value}"]
    return words + (["--dry-run"] if dry_run else [])


def run(table: Table, *actions: str, options: Mapping[str, object] | None = None, dry_run: bool = False) -> Outcome:
    """Runs to the end. Standard output must hold one JSON document, or nothing when the arguments were refused."""
    words = command(table, *actions, options=options, dry_run=dry_run)
    done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    document = json.loads(done.stdout) if done.stdout.strip() else None
    return Outcome(done.returncode, document, done.stderr)


def compact(table: Table, **options: object) -> Outcome:
    """rewrite_data_files; option names with `_` for `-`, but for the one that has an underscore."""
    named = {key if key == "sort_order" else key.replace("_", "-"): value for key, value in options.items()}
    return run(table, "rewrite_data_files", options=named)
