"""Asks today's drift tools, at their defaults, about data that come on standard input; answers on standard output.

A request is a line of JSON, then columns of little-endian doubles; an answer is a line of JSON. What the tools print goes
to standard error. It judges nothing and draws no numbers: the benches `drift` and `summaries` do. Versions:
requirements.txt.
"""

import json
import logging
import os
import sys
import time
import warnings
from importlib.metadata import version

os.environ |= {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
answers, sys.stdout = sys.stdout, sys.stderr
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import ks_stat_test, psi_stat_test
from evidently.legacy.calculations.stattests.registry import get_stattest
from evidently.legacy.core import ColumnType
from nannyml.drift.univariate import UnivariateDriftCalculator
from river import drift as river
from scipy.stats import ks_2samp

CHUNKS = 10  # NannyML's default, both of the reference and of what is analysed
NUMBER = ColumnType.Numerical


def column(n):
    return np.frombuffer(sys.stdin.buffer.read(8 * n), dtype="<f8")


def timed(of):
    start = time.perf_counter()
    found = of()
    return found, time.perf_counter() - start


def drift(request):
    """One column: the reference, then windows, each judged as it is and moved by each shift."""
    n, shifts = request["n"], request["shifts"]
    reference = pd.Series(column(n))
    windows = [column(n) for _ in range(request["windows"])]
    # Chosen by its rows and the different values in it, which the shift of a continuous column does not change.
    test = get_stattest(reference, pd.Series(windows[0]), NUMBER, None)
    evidently = [[bool(test(reference, pd.Series(w + s), NUMBER, None).drifted) for w in windows] for s in shifts]
    # Chunks of a tenth of the reference are what its default makes of the reference and of each window alone.
    calculator = UnivariateDriftCalculator(column_names=["x"], chunk_size=n // CHUNKS)
    calculator.fit(pd.DataFrame({"x": reference}))
    nannyml = []
    for shift in shifts:
        found = calculator.calculate(pd.DataFrame({"x": np.concatenate(windows) + shift}))
        alerts = found.filter(period="analysis").to_df()[("x", "jensen_shannon", "alert")].to_numpy(bool)
        nannyml.append(alerts.reshape(len(windows), CHUNKS).tolist())
    return {"evidently": evidently, "test": test.name, "nannyml": nannyml}


def psi_ks(request):
    """One column: seconds for PSI and the two-sample KS test of two samples, raw to answer."""
    reference, current = column(request["n"]), column(request["n"])
    pair = pd.Series(reference), pd.Series(current)
    _, evidently = timed(lambda: (psi_stat_test(*pair, NUMBER, None), ks_stat_test(*pair, NUMBER, None)))

    def by_numpy():
        edges = np.quantile(reference, np.arange(1, 10) / 10)
        counts = [np.bincount(np.searchsorted(edges, x, side="right"), minlength=11) for x in (reference, current)]
        p, q = [(c + 0.5) / (c.sum() + 0.5 * len(c)) for c in counts]
        return float(((q - p) * np.log(q / p)).sum())

    (psi, ks), scipy_s = timed(lambda: (by_numpy(), ks_2samp(reference, current)))
    return {"evidently": evidently, "scipy": scipy_s, "psi": psi, "d": float(ks.statistic), "p": float(ks.pvalue)}


def adwin(request):
    """Nanoseconds an update, quickest of some rounds: as people call it, its compiled core, and a call that does nothing."""
    values = column(request["n"]).tolist()

    class Nothing:
        def update(self, x):
            pass

    def loop(update):
        for x in values:
            update(x)

    detectors = {"river": lambda: river.ADWIN().update, "core": lambda: river.ADWIN()._helper.update,
                 "nothing": lambda: Nothing().update, "built_in": lambda: abs}
    best = lambda make: min(timed(lambda update=make(): loop(update))[1] for _ in range(request["rounds"]))
    found = {name: 1e9 * best(make) / len(values) for name, make in detectors.items()}
    alarms, detector = 0, river.ADWIN()
    for x in values:
        detector.update(x)
        alarms += detector.drift_detected
    return found | {"alarms": alarms, "width": int(detector.width)}


def versions(request):
    names = ["evidently", "nannyml", "river", "scipy", "numpy", "pandas"]
    return {name: version(name) for name in names}


for line in sys.stdin.buffer:
    request = json.loads(line)
    answer = {"drift": drift, "psi_ks": psi_ks, "adwin": adwin, "versions": versions}[request["ask"]](request)
    print(json.dumps(answer), file=answers, flush=True)
