"""Prints drift statistics of seeded cases as scipy and statsmodels have them, one JSON object a line."""

import json

import numpy as np
import scipy.stats as st
from scipy.spatial.distance import jensenshannon
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(20261127)


def emit(case, inputs, expected):
    print(json.dumps({"case": case, "inputs": inputs, "expected": expected}))


def pooled(reference, current):
    """Columns with fewer than 5 expected in a row become one; if that is too small still, it joins the smallest other."""
    table = np.array([reference, current], dtype=float)
    expected = (table.sum(0) * table.sum(1).min() / table.sum())
    large, small = table[:, expected >= 5], table[:, expected < 5].sum(1, keepdims=True)
    if small.sum() * table.sum(1).min() / table.sum() >= 5:
        return np.hstack([large, small])
    large[:, [np.argmin(large.sum(0))]] += small
    return large


def binned():
    """Counts on bins, from hardly any to millions, still and moved, with empty bins."""
    for i in range(60):
        bins = int(rng.integers(3, 30))
        shares = rng.dirichlet(np.full(bins, rng.choice([0.3, 1.0, 10.0])))
        moved = shares if i % 3 == 0 else 0.7 * shares + 0.3 * rng.dirichlet(np.ones(bins))
        reference = rng.multinomial(int(rng.choice([300, 5_000, 2_000_000])), shares)
        current = rng.multinomial(int(rng.choice([200, 3_000, 5_000_000])), moved)
        edges = np.cumsum(rng.exponential(size=bins - 1)) - 3
        n, m = reference.sum(), current.sum()
        p, q = (reference + .5) / (n + .5 * bins), (current + .5) / (m + .5 * bins)
        steps = np.diff(edges)
        centres = np.concatenate([[edges[0] - steps[0] / 2], edges[:-1] + steps / 2, [edges[-1] + steps[-1] / 2]]) \
            if bins > 2 else None
        mean = np.average(centres, weights=reference)
        sd = np.sqrt(np.average((centres - mean) ** 2, weights=reference))
        table = pooled(reference, current)
        chi = st.chi2_contingency(table, correction=False)
        emit("binned", {"edges": edges.tolist(), "reference": reference.tolist(), "current": current.tolist()}, {
            "psi": float(((q - p) * np.log(q / p)).sum()),
            "noise_floor": float(st.chi2.ppf(.999, bins - 1) * (1 / n + 1 / m)),
            "js_distance": float(jensenshannon(reference, current, base=2)),
            "ks": float(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m).max()),
            "w1_over_sd": float(st.wasserstein_distance(centres, centres, reference, current) / sd),
            "chi_square": float(chi.statistic), "freedom": int(chi.dof), "p": float(chi.pvalue)})


def raw():
    """Raw samples with and without ties, equal and shifted, of equal and unequal sizes."""
    for i in range(60):
        sizes = rng.integers(10, 80, 2) if i % 2 else rng.integers(200, 2_000, 2)
        shift = rng.choice([0., 0., .1, .5, 2.])
        a, b = rng.normal(size=sizes[0]), rng.normal(size=sizes[1]) + shift
        if i % 3 == 0:
            a, b = np.round(a * 3), np.round(b * 3)
        ks = st.ks_2samp(a, b, method="asymp")
        two = st.mannwhitneyu(a, b, alternative="two-sided", method="asymptotic")
        greater = st.mannwhitneyu(a, b, alternative="greater", method="asymptotic")
        emit("raw", {"a": a.tolist(), "b": b.tolist()}, {
            "d": float(ks.statistic), "p_of_d": float(ks.pvalue), "u": float(two.statistic), "p": float(two.pvalue),
            "p_greater": float(greater.pvalue)})


def multiplicity():
    for i in range(20):
        p = np.concatenate([rng.uniform(size=rng.integers(1, 40)), 10. ** -rng.uniform(1, 12, rng.integers(0, 8))])
        rng.shuffle(p)
        reject, adjusted, _, _ = multipletests(p, .05, "fdr_bh")
        emit("multiplicity", {"p": p.tolist()}, {"reject": reject.tolist(), "adjusted": adjusted.tolist()})


def moments():
    for i in range(20):
        scale = float(rng.choice([1., 1e3, 1e6]))
        x = np.round(rng.normal(size=rng.integers(2, 400)) * scale + 5 * scale, 6)
        emit("moments", {"x": x.tolist()}, {"mean": float(x.mean()), "variance": float(x.var(ddof=1)),
                                           "deviation": float(x.std()), "min": float(x.min()), "max": float(x.max())})


binned()
raw()
multiplicity()
moments()
