"""What a trainer in Python shares with any other: reading the folder that `fairway train prepare` leaves, and writing
the bundle that `fairway train publish` takes.

The trainer brings tensors and a function that scores. This file brings the rest: item ids in their order, the profile
that drift is measured against, golden requests with the answers that this model gives, and bundle.json.
"""
import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

DAY_MS = 86_400_000
VISIT_GAP_MS = 30 * 60_000  # rows of a user less than this apart are one request
HISTORY_MAX = 500  # items of a history that a router keeps
VISITS_MAX = 5_000  # requests that a profile is made of
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


@dataclass
class Data:
    """The rows of the run, in the order of users and of time, and who is in them. A place of -1 is: not known."""

    plan: dict
    items: list[str]  # sorted by bytes, each once: the order of all rows and columns of a model
    segments: list[str]
    user: np.ndarray
    item: np.ndarray
    time_ms: np.ndarray
    segment: np.ndarray
    holdout: np.ndarray  # true: the bundle is judged on this row and must not have seen it
    first: np.ndarray  # the first row of each row's user

    def history(self, row: int, limit: int = HISTORY_MAX) -> list[tuple[int, int]]:
        """The newest known items that the user had before this row, each once, oldest first, with their times."""
        seen = {}
        for i in range(row - 1, self.first[row] - 1, -1):
            if self.item[i] >= 0 and self.time_ms[i] < self.time_ms[row]:
                seen.setdefault(int(self.item[i]), int(self.time_ms[i]))
                if len(seen) == limit:
                    break
        return list(reversed(seen.items()))

    def segment_of(self, row: int) -> str | None:
        return self.segments[self.segment[row]] if self.segment[row] >= 0 else None


def numbered(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The names of a column sorted by their bytes, and for each row the place of its name, or -1 if it has none."""
    coded = pa.chunked_array(column.chunks, pa.string()).combine_chunks().dictionary_encode()
    names = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda i: names[i].encode())
    place = np.full(len(names) + 1, -1)  # the last one is that of no name
    place[order] = np.arange(len(names))
    return [names[i] for i in order], place[coded.indices.fill_null(-1).to_numpy()]


def read(folder: Path, min_users: int) -> Data:
    """Reads what was prepared. Items that fewer than `min_users` users had before the holdout are not known."""
    plan = json.loads((folder / "plan.json").read_text())
    table = pq.ParquetFile(folder / "interactions.parquet").read()
    (_, user), (names, item), (segments, segment) = (numbered(table[c]) for c in ("user_id", "item_id", "segment"))
    time_ms = table["time"].cast(pa.int64()).to_numpy()
    holdout = table["holdout"].to_numpy()
    pairs = np.unique(user[~holdout] * len(names) + item[~holdout])
    known = np.bincount(pairs % len(names), minlength=len(names)) >= min_users
    if not known.any():
        raise SystemExit(f"no item has {min_users} users before the holdout: take more data or lower --min-users")
    place = np.where(known, np.cumsum(known) - 1, -1)
    items = [name for name, there in zip(names, known) if there]
    order = np.lexsort((time_ms, user))
    user = user[order]
    first = np.searchsorted(user, user)
    return Data(plan, items, segments, user, place[item[order]], time_ms[order], segment[order], holdout[order], first)


def best(scores: np.ndarray, history: list[int], k: int) -> list[int]:
    """The places of the k best items: score descending, ties by the smaller id. What the user has is left out."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    return [int(i) for i in order[: k + len(history)] if i not in set(history)][:k]


def numbers(values: list[float], bins: int = 10, is_score: bool = False) -> dict:
    """A feature that is a number: bins of equal counts; a value that fills several of them has one of its own."""
    values = np.array(values, dtype=float)
    finite = values[np.isfinite(values)]
    edges, times = np.unique(np.quantile(finite, np.arange(1, bins) / bins), return_counts=True) if len(finite) else ([], [])
    above = [finite[finite > edge] for edge, n in zip(edges, times) if n > 1]
    alone = [values.min() if len(values) else np.nextafter(finite.max(), np.inf) for values in above]
    edges = np.unique([*edges, *alone])
    counts = np.bincount(np.searchsorted(edges, finite, side="right"), minlength=len(edges) + 1)
    reference = [*map(int, counts), len(values) - len(finite)]
    return {"bins": {"quantiles": {"edges": [float(e) for e in edges]}}, "reference": reference, "is_score": is_score}


def categories(names: list[str], counts: list[int]) -> dict:
    """A feature with a bin for each name; `counts` has two more, for other names and for none."""
    return {"bins": {"categories": {"names": names}}, "reference": [int(n) for n in counts], "is_score": False}


def profile(data: Data, score) -> dict:
    """How requests, scores and consumption were in the holdout, as a server would have met them."""
    rows = np.flatnonzero(data.holdout)
    gap = np.diff(data.time_ms, prepend=0)
    visits = rows[(data.first[rows] == rows) | (gap[rows] >= VISIT_GAP_MS)]
    if len(visits) > VISITS_MAX:
        visits = np.random.default_rng(data.plan["seed"]).choice(visits, VISITS_MAX, replace=False)
    scores, lengths = [], []
    for row in visits:
        history = data.history(row)
        answer = score(history, data.segment_of(row))  # None: it knows nothing of this user
        top = [] if answer is None else best(answer, [i for i, _ in history], 1)
        scores.append(float(answer[top[0]]) if top else np.nan)
        lengths.append(len(history))
    # What was consumed, by how popular it was in training: tenths of equal consumption, the most popular items first.
    trained = np.bincount(data.item[~data.holdout & (data.item >= 0)], minlength=len(data.items))
    order = np.argsort(-trained, kind="stable")
    tenth = np.empty(len(order), dtype=int)
    tenth[order] = (np.cumsum(trained[order]) - trained[order]) * 10 // trained.sum()
    consumed = np.bincount([tenth[i] if i >= 0 else 10 for i in data.item[rows]], minlength=12)
    top = np.bincount(data.segment[visits] + 1, minlength=len(data.segments) + 1)  # the first is that of no segment
    names = sorted(range(len(data.segments)), key=lambda i: (-top[i + 1], i))
    counts = [top[i + 1] for i in names]
    return {
        "features": {
            "score": numbers(scores, is_score=True),
            "historyLength": numbers(lengths),
            "segment": categories([data.segments[i] for i in names[:20]], [*counts[:20], sum(counts[20:]), top[0]]),
        },
        "consumed": categories([f"part {part} of 10" for part in range(1, 11)], consumed),
        "consumed_bin": [int(part) for part in tenth],
    }


def golden(data: Data, score, now_ms: int, count: int = 8, k: int = 20) -> list[dict]:
    """Requests of invented users with this model's answers: a server that gives others must not serve."""
    draw = np.random.default_rng(data.plan["seed"])
    requests = []
    for at in range(20 * count):
        history = [int(i) for i in draw.integers(len(data.items), size=[1, 2, 3, 5, 8, 20][at % 6])]
        # An invented history has an item a day, the newest a day before the newest interaction of the training.
        seen = [(item, now_ms - (len(history) - place) * DAY_MS) for place, item in enumerate(history)]
        segment = data.segments[at % len(data.segments)] if data.segments and at % 3 == 2 else None
        scores = score(seen, segment)
        answer = best(scores, history, k + 1)
        values = scores[answer]
        # Ranks that hang on how a processor rounds would prove nothing.
        if len(answer) < 2 or np.min(values[:-1] - values[1:]) < 1e-5 * np.max(np.abs(values)):
            continue
        request = {"answer": [[data.items[i], float(scores[i])] for i in answer[:k]],
                   "history": [data.items[i] for i in history], "k": k}
        requests.append(request if segment is None else {**request, "segment": segment})
        if len(requests) == count:
            break
    if not requests:
        raise SystemExit("the model scores items alike: look at the data, or train longer")
    return requests


def milliseconds(text: str) -> int:
    """A duration such as 180d or 1h30m."""
    return sum(int(n) * UNITS_MS[unit] for n, unit in re.findall(r"(\d+)\s*(ms|s|m|h|d)", text))


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write(folder: Path, data: Data, family: str, tensors: dict[str, np.ndarray], score, parameters: dict) -> None:
    """Writes DIR/bundle. `score(history, segment)` gives a number for each item, from the same weights as `tensors`."""
    plan, trained = data.plan, data.time_ms[~data.holdout]
    features = plan.get("features", {"user": [], "item": []})
    profile_text = json.dumps(profile(data, score), indent=2, sort_keys=True).encode() + b"\n"
    manifest = {
        "format": 1, "family": family, "model": plan["model"], "run": plan["run"], "seed": plan["seed"],
        "items": len(data.items), "tieRule": "score desc, item id asc",
        "features": features,
        "featuresDigest": sha256(json.dumps(features, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()),
        "historyMs": milliseconds(plan["data"].get("history", "0s")),
        "trainedFromMs": int(trained.min()), "trainedThroughMs": int(trained.max()),
        "metrics": {},  # `fairway train publish` measures
        "parameters": {name: str(value) for name, value in parameters.items()},
        "profileDigest": sha256(profile_text),
    }
    requests = golden(data, score, manifest["trainedThroughMs"])
    bundle = folder / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)  # of an earlier try
    bundle.mkdir()
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, bundle / "weights.safetensors")
    (bundle / "items.json").write_text(json.dumps(data.items))
    (bundle / "segments.json").write_text(json.dumps(data.segments))
    (bundle / "profile.json").write_bytes(profile_text)
    (bundle / "golden.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))
    (bundle / "card.md").write_text(
        f"# {plan['model']}\n\nA `{family}` model of {len(data.items)} items, made by run `{plan['run']}` in Python.\n"
        f"Parameters: {manifest['parameters']}. Judged on the holdout; nothing was fitted again.\n")
    (bundle / "bundle.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")  # last: now it is whole
