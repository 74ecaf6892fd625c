"""Oracle of fairness and diversity: prints JSON lines {"case", "inputs", "expected"}.

MetricFrame and its kin by fairlearn, Wilson's interval by statsmodels, Holm by statsmodels, entropies, divergences and
slopes by scipy.
"""

import json

import numpy as np
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint


def emit(case, inputs, expected):
    print(json.dumps({"case": case, "inputs": inputs, "expected": expected}))


def labels(rng):
    n, groups = int(rng.integers(60, 400)), int(rng.integers(2, 6))
    right, chosen = rng.integers(0, 2, n), (rng.uniform(0, 1, n) < rng.uniform(0.1, 0.9)).astype(int)
    group = rng.integers(0, groups, n)
    rates = {"selection": selection_rate, "right": true_positive_rate, "wrong": false_positive_rate}
    expected = {}
    for name, rate in rates.items():
        frame = MetricFrame(metrics=rate, y_true=right, y_pred=chosen, sensitive_features=group)
        expected[name] = {
            "by_group": [float(x) for x in frame.by_group], "overall": float(frame.overall),
            "difference": float(frame.difference()), "ratio": float(frame.ratio()),
            "to_overall": [float(frame.difference(method="to_overall")), float(frame.ratio(method="to_overall"))],
        }
    emit("labels", {"right": right.tolist(), "chosen": chosen.tolist(), "group": group.tolist()}, expected)


def means(rng):
    """A metric by group: what `by_group` makes of cells, one user a cell's exposure."""
    n, groups = int(rng.integers(2000, 4000)), int(rng.integers(2, 5))
    value, group = np.round(rng.gamma(2, 1.5, n), 6), rng.integers(0, groups, n)
    cell = rng.integers(0, 256, n)
    frame = MetricFrame(metrics=lambda t, p: float(np.mean(p)), y_true=value, y_pred=value, sensitive_features=group)
    expected = {"by_group": [float(x) for x in frame.by_group], "overall": float(frame.overall),
                "difference": float(frame.difference()), "ratio": float(frame.ratio())}
    emit("means", {"value": value.tolist(), "group": group.tolist(), "cell": cell.tolist()}, expected)


def intervals(rng):
    n = int(10 ** rng.uniform(0.5, 6))
    k, alpha = int(rng.integers(0, n + 1) * rng.choice([0.01, 1.0])), float(rng.choice([0.01, 0.05, 0.1]))
    emit("wilson", {"k": k, "n": n, "alpha": alpha}, [float(x) for x in proportion_confint(k, n, alpha, "wilson")])
    p = (rng.uniform(0, 1, int(rng.integers(1, 12))) ** 3).tolist()
    emit("holm", {"p": p, "alpha": alpha}, multipletests(p, alpha, method="holm")[0].tolist())


def variety(rng):
    history, shown = rng.dirichlet(np.full(8, 0.5)), rng.dirichlet(np.full(8, 0.3))
    history[rng.integers(0, 8)] = 0
    p = history / history.sum()
    emit("topics", {"history": history.tolist(), "shown": shown.tolist()}, {
        "entropy": float(stats.entropy(p, base=2)), "calibration": float(stats.entropy(p, 0.99 * shown + 0.01 * p)),
    })
    y = (np.cumsum(rng.normal(0, 0.1, int(rng.integers(8, 60)))) + 3).tolist()
    emit("trend", {"values": y}, float(stats.linregress(np.arange(len(y)), y).slope))


rng = np.random.default_rng(2611)
for _ in range(30):
    labels(rng)
    intervals(rng)
    variety(rng)
for _ in range(5):
    means(rng)
