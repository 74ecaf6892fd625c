"""Prints what the reference libraries answer for generated streams and samples, a JSON line a case.

Covers ADWIN (river), confidence sequences (ville), the classifier two-sample test (scikit-learn,
scipy), isotonic calibration and label-free estimates (scikit-learn) and jumper martingales (online-cp). It judges
nothing: tests/oracle_streaming.rs compares. Versions: requirements.txt.
"""

import json

import numpy as np
import ville
from online_cp.martingale import CompositeJumper, SimpleJumper
from river import drift
from scipy.stats import mannwhitneyu
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, roc_auc_score


def emit(case, inputs, expected):
    print(json.dumps({"case": case, "inputs": inputs, "expected": expected}))


def alarms(detector, values):
    found = []
    for i, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(i)
    return found


def streams(rng):
    """Streams with no, one and several changes, in several units."""
    yield "clean normal", rng.normal(size=3000)
    yield "one step", np.r_[rng.normal(size=1500), rng.normal(0.6, 1, size=1500)]
    yield "steps of a click rate", np.concatenate([rng.random(900) < p for p in (0.05, 0.2, 0.1, 0.6)]).astype(float)
    yield "slope", rng.normal(size=3000) + np.linspace(0, 3, 3000)
    yield "large unit", 1e6 + 1e5 * np.r_[rng.normal(size=800), rng.normal(2, 1, size=800)]
    yield "small unit", 1e-6 * np.r_[rng.normal(size=800), rng.normal(2, 1, size=800)]
    yield "constant steps", np.repeat([0.0, 1.0, 1.0, -2.0], 500)
    yield "counts", np.r_[rng.poisson(3, 1000), rng.poisson(9, 1000)].astype(float)


def detectors(rng):
    for name, values in streams(rng):
        values = values.tolist()
        for settings in ({}, {"clock": 1}, {"delta": 0.05, "clock": 7, "max_buckets": 3, "min_window_length": 20, "grace_period": 100}):
            adwin = drift.ADWIN(**settings)
            rule = {k: getattr(adwin, k) for k in ("delta", "clock", "max_buckets", "min_window_length", "grace_period")}
            found = alarms(adwin, values)
            state = {"width": adwin.width, "mean": adwin.estimation, "squares": adwin.variance}
            emit("adwin", {"name": name, "rule": rule, "values": values}, {"alarms": found, **state})


def sequences(rng):
    for alpha in (0.05, 0.001):
        for name, losses in (
            ("beta", rng.beta(2, 5, size=700)),
            ("coins", (rng.random(900) < 0.03).astype(float)),
            ("ones", np.ones(40)),
            ("one", np.array([0.3])),
            ("uniform", rng.random(400)),
        ):
            options = {"alpha": alpha, "intersect": False}
            bernstein = ville.EmpiricalBernsteinCS(bounds=(0, 1), **options).fit(losses)
            betting = ville.BettingCS(bounds=(0, 1), grid=1001, **options).fit(losses)
            emit(
                "sequences",
                {"name": name, "alpha": alpha, "losses": losses.tolist()},
                {
                    "bernstein": [float(bernstein.lower_[-1]), float(bernstein.upper_[-1])],
                    "betting": [float(betting.lower_[-1]), float(betting.upper_[-1])],
                },
            )
        for successes, n in ((0, 30), (30, 30), (3, 200), (150, 700), (499, 1000), (1, 1)):
            outcomes = np.r_[np.ones(successes), np.zeros(n - successes)]
            rate = ville.BernoulliCS(alpha=alpha, intersect=False).fit(outcomes)
            inputs = {"alpha": alpha, "successes": successes, "n": n}
            emit("rate", inputs, [float(rate.lower_[-1]), float(rate.upper_[-1])])


def two_samples(rng):
    for n, m, d, shift, ridge in ((400, 300, 8, 0.5, 1.0), (400, 400, 3, 0.0, 1.0), (1000, 200, 16, 0.2, 0.1),
                                  (240, 240, 2, 3.0, 10.0),
                                  (300, 300, 4, 0.3, 1.0), (40, 30, 2, 1.0, 1.0)):
        scale = np.exp(rng.normal(0, 2, size=d))
        reference = (rng.normal(size=(n, d)) * scale).astype(np.float32)
        current = ((rng.normal(size=(m, d)) + shift * (np.arange(d) == 0)) * scale).astype(np.float32)
        if d == 4:  # coarse numbers, so that scores tie
            reference, current = reference * 0 + rng.integers(0, 3, (n, d)), current * 0 + rng.integers(0, 3, (m, d))
            current[:, 0] += rng.integers(0, 2, m)
            reference, current = reference.astype(np.float32), current.astype(np.float32)
        train = np.r_[reference[::2], current[::2]].astype(float)
        labels = np.r_[np.zeros(len(reference[::2])), np.ones(len(current[::2]))]
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        model = LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        model.fit((train - mean) / deviation, labels)
        low, high = (model.decision_function((rows[1::2].astype(float) - mean) / deviation) for rows in (reference, current))
        # Equal rows must tie, whatever the order of summation.
        low, high = np.round(low, 9), np.round(high, 9)
        auc = roc_auc_score(np.r_[np.zeros(len(low)), np.ones(len(high))], np.r_[low, high])
        inputs = {"dimensions": d, "ridge": ridge, "reference": reference.ravel().tolist(), "current": current.ravel().tolist()}
        p = mannwhitneyu(high, low, alternative="greater", method="asymptotic").pvalue
        emit("c2st", inputs, {"auc": float(auc), "p": float(p), "strongest": int(np.abs(model.coef_[0]).argmax())})


def estimates(rng):
    for n, digits in ((500, 2), (2000, 6), (60, 1), (800, 2)):
        scores = np.round(rng.beta(1, 4, size=n), digits)
        labels = rng.random(n) < scores**1.5
        fresh = np.round(rng.beta(2, 3, size=n), digits)
        isotonic = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
        p = isotonic.predict(fresh)
        # The expected metric over labels drawn from p is the metric of each score as both classes, weighted.
        truth, twice, weights = np.repeat([1, 0], n), np.r_[fresh, fresh], np.r_[p, 1 - p]
        calibrated, guesses = np.r_[p, p], np.r_[fresh, fresh] >= 0.3
        (tn, fp), (fn, tp) = confusion_matrix(truth, guesses, sample_weight=weights)
        emit(
            "estimate",
            {"scores": scores.tolist(), "labels": labels.tolist(), "fresh": fresh.tolist(), "threshold": 0.3},
            {
                "calibrated": p.tolist(),
                "auc": float(roc_auc_score(truth, twice, sample_weight=weights)),
                "log_loss": float(log_loss(truth, calibrated, sample_weight=weights)),
                "accuracy": float(accuracy_score(truth, guesses, sample_weight=weights)),
                "f1": float(f1_score(truth, guesses, sample_weight=weights)),
                "counts": [float(tp), float(fp), float(fn), float(tn)],
            },
        )


def martingales(rng):
    for power in (1.0, 1.5, 0.5):
        p = (rng.random(300) ** power).tolist()
        composite, simple = CompositeJumper(), {j: SimpleJumper(J=j) for j in (0.001, 0.01, 0.5)}
        for value in p:
            composite.update(value)
            for jumper in simple.values():
                jumper.update(value)
        expected = {"composite": float(composite.logM), "simple": [[j, float(s.logM)] for j, s in simple.items()]}
        emit("jumper", {"p": p}, expected)


if __name__ == "__main__":
    generator = np.random.default_rng(20250611)
    for part in (detectors, sequences, two_samples, estimates, martingales):
        part(generator)
