"""The families of a bundle in numpy, as docs/bundles.md describes their tensors: a score for each item."""
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

POOL_MAX = 100  # the newest items of a history that two towers pool


class Model:
    """A bundle's weights, and its names."""

    def __init__(self, folder: Path):
        read = lambda name: json.loads((folder / name).read_text())
        self.family = read("bundle.json")["family"]
        self.items = read("items.json")
        self.segments = read("segments.json") if (folder / "segments.json").exists() else []
        self.place = {name: place for place, name in enumerate(self.items)}
        self.tensors = load_file(folder / "weights.safetensors")
        self.score = {"ease": self.ease, "popularity": self.popularity, "two-tower": self.two_tower}[self.family]

    def segment_place(self, segment: str | None) -> int:
        return self.segments.index(segment) if segment in self.segments else -1

    def ease(self, history: list[int], times_ms: list[int], segment: str | None) -> np.ndarray | None:
        """None: it knows nothing of a user without a history."""
        return self.tensors["item_item.weight"][sorted(set(history))].sum(0) if history else None

    def popularity(self, history: list[int], times_ms: list[int], segment: str | None) -> np.ndarray:
        counts, smoothing = self.tensors["popularity.counts"], self.tensors["popularity.smoothing"][0]
        scores = counts / max(counts.sum(dtype=np.float64), 1e-300) * smoothing
        place = self.segment_place(segment)
        own = self.tensors["popularity.by_segment"][place] if place >= 0 else 0
        return np.float32(own + scores)

    def two_tower(self, history: list[int], times_ms: list[int], segment: str | None) -> np.ndarray:
        t = self.tensors
        newest, times = history[-POOL_MAX:], np.array(times_ms[-POOL_MAX:], dtype=np.float64)
        pooled = np.zeros(t["user.history_embedding"].shape[1], np.float32)
        if newest:
            weights = 0.5 ** ((times.max() - times) / t["user.recency_half_life_ms"][0])
            pooled = np.float32(weights / weights.sum()) @ t["user.history_embedding"][newest]
        x = np.concatenate([pooled, t["user.segment_embedding"][self.segment_place(segment) + 1]])
        layers = sum(name.startswith("user.layers.") and name.endswith(".bias") for name in t)
        for at in range(layers):
            x = t[f"user.layers.{at}.weight"] @ (np.maximum(x, 0) if at else x) + t[f"user.layers.{at}.bias"]
        return t["item.vectors"] @ x / t["score.temperature"][0]


def best(scores: np.ndarray, exclude: set[int], k: int) -> list[int]:
    """The places of the k best items: score descending, ties by the smaller id."""
    order = np.lexsort((np.arange(len(scores)), -scores))[: k + len(exclude)]
    return [int(place) for place in order if place not in exclude][:k]
