"""A trainer in PyTorch between `fairway train prepare DIR` and `fairway train publish DIR`: two towers.

An item is a vector. A user is what a small network makes of the history (an embedding of each item, newer ones count
more) and the segment. The score of an item is the dot product of the two, over a temperature. It is trained to tell
which item a user bought next from all others.

    python train.py /work
"""
import os
import signal

# First of all: as process 1 of a container, Python would not hear SIGTERM. Nothing is kept; the run begins anew.
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import bundle

POOL_MAX = 100  # the newest items of a history that a server pools


class TwoTower(nn.Module):
    """The names of its parts are close to those of the tensors in the bundle."""

    def __init__(self, items: int, segments: int, dim: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.item = nn.Embedding(items, dim)
        self.history = nn.Embedding(items + 1, dim, padding_idx=items)  # the last row fills up short histories
        self.segment = nn.Embedding(1 + segments, 8)  # row 0: no segment, or one that is not known
        self.layers = nn.ModuleList([nn.Linear(dim + 8, 2 * dim), nn.Linear(2 * dim, dim)])
        nn.init.normal_(self.item.weight, std=dim**-0.5)

    def item_vectors(self) -> torch.Tensor:
        return functional.normalize(self.item.weight, dim=1)

    def forward(self, history, share, segment) -> torch.Tensor:
        """A score for each item, for each user of a batch."""
        pooled = (self.history(history) * share.unsqueeze(2)).sum(1)
        hidden = self.layers[0](torch.cat([pooled, self.segment(segment)], 1))
        user = self.layers[1](functional.relu(hidden))
        return user @ self.item_vectors().T / self.temperature

    def tensors(self, half_life_ms: int) -> dict[str, np.ndarray]:
        """As the family `two-tower` has them in docs/bundles.md."""
        named = {
            "item.vectors": self.item_vectors(),
            "user.history_embedding": self.history.weight[:-1],
            "user.segment_embedding": self.segment.weight,
            "score.temperature": torch.tensor([self.temperature], dtype=torch.float32),
            "user.recency_half_life_ms": torch.tensor([half_life_ms], dtype=torch.int64),
        }
        for at, layer in enumerate(self.layers):
            named |= {f"user.layers.{at}.weight": layer.weight, f"user.layers.{at}.bias": layer.bias}
        return {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}


def pooled(history: list[tuple[int, int]], half_life_ms: int, length: int, filler: int) -> tuple[list, list]:
    """The newest items of a history and each one's share in it, filled up to `length`."""
    newest = history[-length:]
    now_ms = max((time_ms for _, time_ms in newest), default=0)
    weights = [0.5 ** ((now_ms - time_ms) / half_life_ms) for _, time_ms in newest]
    shares = [weight / sum(weights) for weight in weights]
    empty = length - len(newest)
    return [item for item, _ in newest] + [filler] * empty, shares + [0.0] * empty


def examples(data: bundle.Data, half_life_ms: int, length: int) -> list[torch.Tensor]:
    """For each thing that a user bought for the first time: the history before it, the segment, and the thing."""
    histories, shares, segments, targets = [], [], [], []
    rows = np.flatnonzero(~data.holdout & (data.item >= 0))
    _, first = np.unique(data.user[rows] * len(data.items) + data.item[rows], return_index=True)
    for row in rows[np.sort(first)]:
        history = data.history(row, length)
        if not history:
            continue
        items, share = pooled(history, half_life_ms, length, len(data.items))
        histories.append(items)
        shares.append(share)
        segments.append(data.segment[row] + 1)
        targets.append(data.item[row])
    if not targets:
        raise SystemExit("no user bought two known things before the holdout: there is nothing to learn from")
    return [torch.tensor(np.array(part)) for part in (histories, np.float32(shares), segments, targets)]


def fit(model: TwoTower, parts: list[torch.Tensor], epochs: int, batch: int, rate: float, device: str) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    begun, told = time.monotonic(), 0.0
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(parts[-1])).split(batch):
            history, share, segment, target = (part[rows].to(device) for part in parts)
            # Over all items. With many more than 50,000 of them, draw some that were not bought instead.
            loss = functional.cross_entropy(model(history, share, segment), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        now = time.monotonic()
        if now - told >= 1 or epoch == epochs - 1:
            told = now
            left = (now - begun) / (epoch + 1) * (epochs - epoch - 1)
            say(step="fit", percent=100 * (epoch + 1) // epochs, secondsLeft=round(left), loss=total / len(parts[-1]))


def say(**line) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("FAIRWAY_DIR"))
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--half-life-days", type=float, default=30)
    parser.add_argument("--min-users", type=int, default=5)
    args = parser.parse_args()
    if not args.folder:
        parser.error("name the folder that `fairway train prepare` has filled, or set FAIRWAY_DIR")
    if (args.folder / "ended.json").exists():
        say(step="ended", why="the run has a result: there is nothing to do")
        return
    data = bundle.read(args.folder, args.min_users)
    torch.manual_seed(data.plan["seed"] % 2**63)
    half_life_ms = max(1, round(args.half_life_days * bundle.DAY_MS))
    say(step="read", rows=len(data.item), items=len(data.items), holdout=int(data.holdout.sum()))

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = TwoTower(len(data.items), len(data.segments), args.dim, args.temperature).to(device)
    parts = examples(data, half_life_ms, length=50)
    fit(model, parts, args.epochs, args.batch, args.learning_rate, device)

    model.cpu().eval()
    places = {name: place for place, name in enumerate(data.segments)}

    @torch.no_grad()
    def score(history, segment):
        items, share = pooled(history, half_life_ms, POOL_MAX, len(data.items))
        one = [torch.tensor([items]), torch.tensor([share]), torch.tensor([places.get(segment, -1) + 1])]
        return model(*one)[0].numpy()

    parameters = {name: value for name, value in vars(args).items() if name != "folder"}
    bundle.write(args.folder, data, "two-tower", model.tensors(half_life_ms), score, parameters)
    say(step="write", bundle=str(args.folder / "bundle"))


if __name__ == "__main__":
    sys.exit(main())
