"""A small shop for tests: its sales, its registry, the plans of its runs, and the binary. Needs nothing but Python."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMESPACE, MODEL = "shop", "recs"
DAY_MS = 86_400_000
SQL = 'SELECT "user" AS user_id, item AS item_id, time, segment FROM interactions'
LIMIT = 300  # seconds for one command: importing torch the first time takes a minute on a busy machine


def sales(begun_ms: int = 0) -> str:
    """120 users who keep to one of three ranges of 20 items, and buy 12 times in 90 days: whoever knows the range finds all."""
    lines, drawn = [], 17
    for user in range(120):
        for visit in range(12):
            drawn = (drawn * 1_664_525 + 1_013_904_223) % 2**32
            item = (user % 3) * 20 + (drawn >> 16) % 20
            at = begun_ms + (visit * 15 // 2 + user % 15 // 2) * DAY_MS
            lines.append(json.dumps({"time": at, "user": f"u{user}", "item": f"i{item:02}", "segment": f"s{user % 2}"}))
    return "\n".join(lines) + "\n"


class Shop:
    def __init__(self, binary: Path):
        self.binary = binary.resolve()
        self.folder = Path(tempfile.mkdtemp(prefix="fairway-python-"))
        (self.folder / "sales.jsonl").write_text(sales())
        self.registry = self.folder / "registry"
        self.say("registry", "init", str(self.registry))

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str) -> list[str]:
        """For verbs that name a model and a run or a version of it."""
        return [str(self.binary), *words, "--registry", str(self.registry), "--namespace", NAMESPACE, "--model", MODEL]

    def say(self, *words: str) -> str:
        return finished([str(self.binary), *words], self.folder).stdout

    def plan(self, run: str, **fields) -> None:
        plan = {
            "model": MODEL, "run": run, "reason": "a test", "seed": 1, "asOf": "1970-04-01T00:00:00Z",
            "data": {"interactions": {"url": "sales.jsonl", "sql": SQL}},
            "family": "container", "parameters": {}, "holdout": "336h", **fields,
        }
        folder = self.run_folder(run)
        folder.mkdir(parents=True)
        # As whoever starts runs writes it.
        (folder / "plan.json").write_text(json.dumps({"txn": "test", "body": plan}))

    def run_folder(self, run: str) -> Path:
        return self.registry / NAMESPACE / "models" / MODEL / "runs" / run

    def result(self, run: str) -> dict:
        return json.loads((self.run_folder(run) / "result.json").read_text())["body"]

    def train(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess:
        return finished(self.command("train", *words), self.folder, expect)

    def uploaded(self, digest: str) -> Path:
        return self.registry / NAMESPACE / "models" / MODEL / "versions" / digest.replace(":", "-")

    def register(self, run: str) -> str:
        """Brings what a run has uploaded in as a version, as whoever keeps the log does. Its digest."""
        digest = self.result(run)["digest"]
        tree = self.folder / f"tree-{run}"
        shutil.copytree(self.uploaded(digest), tree, ignore=shutil.ignore_patterns("manifest.json"))
        said = self.say("registry", "push", str(tree), "--registry", str(self.registry), "--model",
                        f"{NAMESPACE}/{MODEL}", "--run", run, "--actor", "test")
        assert digest in said, f"registered as another tree: {said}"
        return digest


def finished(command: list[str], folder: Path, expect: int = 0, **environment) -> subprocess.CompletedProcess:
    """Runs a command to its end; anything but the expected exit code ends the test with what it said."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT)
    if done.returncode != expect:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return done


if __name__ == "__main__":
    # For the cluster, where now is now: the last of them is some days old.
    sys.stdout.write(sales(int(time.time() * 1e3) - 95 * DAY_MS))
