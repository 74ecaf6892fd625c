"""Somebody else's server behind `fairway serve`: it must reproduce the golden answers, and answer as `fairway serve` alone
does."""
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from shop import MODEL, Shop

PATIENCE = 60  # seconds until a server listens
QUESTIONS = 60


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def mlserver(shop: Shop, python: Path, config: Path, bundle: Path):
    """MLServer with the example's configuration. Gives its URL."""
    http, grpc, metrics = free_ports(3)
    environment = {
        **os.environ, "MLSERVER_MODEL_URI": str(bundle), "MLSERVER_MODEL_NAME": MODEL, "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(http), "MLSERVER_GRPC_PORT": str(grpc), "MLSERVER_METRICS_PORT": str(metrics),
    }
    log = shop.folder / f"mlserver-{http}.log"
    with log.open("w") as said:
        process = subprocess.Popen([python.parent / "mlserver", "start", str(config)], cwd=shop.folder, env=environment,
                                   stdout=said, stderr=said)
    try:
        yield f"http://127.0.0.1:{http}"
        assert process.poll() is None, f"MLServer has ended: {log.read_text()[-2000:]}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, f"MLServer did not end in order: {log.read_text()[-2000:]}"
    except BaseException:
        print(log.read_text()[-3000:])
        raise
    finally:
        process.kill()
        process.wait()


@contextmanager
def served(shop: Shop, digest: str, *more: str):
    """`fairway serve`; gives its URL when it listens, and what it said if it ends before."""
    words = ["serve", "--version", digest, "--listen", "127.0.0.1:0", "--drain", "100ms", *more]
    process = subprocess.Popen(shop.command(*words), cwd=shop.folder, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.match(r"serving .* on (http://\S+)", line):
                yield found[1]
                return
        raise Refused(process.wait(PATIENCE), "".join(said))
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


class Refused(Exception):
    """It ended before it served: the exit code, and what it said."""


def ask(url: str, history: list[str], segment: str | None, exclude: list[str], k: int) -> dict:
    # Three days apart, the newest an hour before the question.
    now_ms = 100 * 86_400_000
    times = [now_ms - 3_600_000 - (len(history) - place) * 3 * 86_400_000 for place in range(len(history))]
    tensor = lambda name, datatype, data: {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
    body = {"inputs": [
        tensor("history", "BYTES", history), tensor("history_time_ms", "INT64", times),
        tensor("exclude", "BYTES", sorted({*history, *exclude})), tensor("segment", "BYTES", [segment] if segment else []),
        tensor("now_ms", "INT64", [now_ms]), tensor("k", "INT32", [k]),
    ]}
    request = urllib.request.Request(f"{url}/v2/models/{MODEL}/infer", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said = json.load(answer)
    if said.get("parameters", {}).get("cold_start"):
        return {"cold_start": True}
    return {tensor["name"]: tensor["data"] for tensor in said["outputs"]}


def same(one: dict, other: dict) -> bool:
    if one.keys() != other.keys() or one.get("items") != other.get("items"):
        return False
    return all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5) for a, b in zip(one.get("scores", []), other.get("scores", [])))


def answers_as_alone(shop: Shop, python: Path, config: Path, bundle: Path, digest: str) -> None:
    """The golden answers first: `fairway serve` does not listen before they were reproduced."""
    draw = random.Random(7)
    items = json.loads((bundle / "items.json").read_text())
    with mlserver(shop, python, config, bundle) as url:
        behind = ["--behind", url, "--behind-within", f"{PATIENCE}s"]
        with served(shop, digest, *behind) as through, served(shop, digest) as alone:
            begun, cold = time.monotonic(), 0
            for at in range(QUESTIONS):
                history = draw.sample(items, [0, 1, 3, 8, 20][at % 5]) + (["nobody's"] if at % 7 == 0 else [])
                question = (history, [None, "s0", "s1", "mars"][at % 4], draw.sample(items, at % 9), 1 + at % 40)
                found, expected = ask(through, *question), ask(alone, *question)
                assert same(found, expected), f"{question}: {found}, not {expected}"
                cold += "cold_start" in expected
            each = (time.monotonic() - begun) / QUESTIONS
    print(f"  {json.loads((bundle / 'bundle.json').read_text())['family']}: {QUESTIONS} answers alike, {cold} of them "
          f"that the user is not known; {each * 1e3:.1f} ms for both")


def another_versions_answers_are_refused(shop: Shop, python: Path, config: Path, bundle: Path, digest: str) -> None:
    """A server with other weights: it is never in front of users."""
    with mlserver(shop, python, config, bundle) as url:
        try:
            with served(shop, digest, "--behind", url, "--behind-within", f"{PATIENCE}s"):
                raise AssertionError("another version's answers were taken for this one's")
        except Refused as refused:
            code, said = refused.args
            assert code == 1 and "does not answer as its trainer said" in said, said
