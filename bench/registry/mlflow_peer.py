"""The peer of the bench `mlflow`: MLflow's model registry, told by lines what to do, and timing it.

Arguments: the tracking URI, the folder where artifacts go, and the folder of the trees to register.
Lines come in on standard input and are answered on standard output with seconds:

    register FIRST COUNT   stores the trees FIRST, FIRST+1, ... as artifacts, makes each a version of one
                           model, and moves the alias `champion` to it
    synced FIRST COUNT     the same, and syncs the artifacts to the disk
    read COUNT             asks COUNT times which version `champion` is

It uses `MlflowClient` as quickly as it goes: by default without a server, one run for all versions, no waiting for a
version that is ready at once.
"""

import os
import sys
import time
from pathlib import Path

import mlflow
from mlflow import MlflowClient

MODEL = "bench"
ALIAS = "champion"


class Peer:
    def __init__(self, uri: str, artifacts: Path, trees: Path) -> None:
        self.trees = trees
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = self.client.create_experiment("bench", artifact_location=artifacts.as_uri())
        self.run = self.client.create_run(experiment)
        self.client.create_registered_model(MODEL)

    def register(self, index: int, synced: bool) -> None:
        run = self.run.info
        self.client.log_artifacts(run.run_id, str(self.trees / str(index)), f"tree-{index}")
        source = f"{run.artifact_uri}/tree-{index}"
        if synced:
            sync(Path(source.removeprefix("file://")))
        version = self.client.create_model_version(MODEL, source, run.run_id, await_creation_for=0)
        self.client.set_registered_model_alias(MODEL, ALIAS, version.version)

    def read(self) -> str:
        return self.client.get_model_version_by_alias(MODEL, ALIAS).version

    def tell(self, line: str) -> float:
        word, *numbers = line.split()
        started = time.perf_counter()
        if word in ("register", "synced"):
            first, count = map(int, numbers)
            for index in range(first, first + count):
                self.register(index, word == "synced")
        elif word == "read":
            for _ in range(int(numbers[0])):
                self.read()
        else:
            raise ValueError(f"`{word}` is none of `register`, `synced` and `read`")
        return time.perf_counter() - started


def sync(folder: Path) -> None:
    """Syncs the files of a folder, its names, and its own name."""
    for place in [*folder.iterdir(), folder, folder.parent]:
        opened = os.open(place, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)


def main() -> None:
    uri, artifacts, trees = sys.argv[1:]
    peer = Peer(uri, Path(artifacts), Path(trees))
    print(f"mlflow {mlflow.__version__}", flush=True)
    for line in sys.stdin:
        print(peer.tell(line), flush=True)


if __name__ == "__main__":
    main()
