"""Expected values for the verdicts, by scipy, statsmodels and ville, and by savvi and gbstats where they are installed (both
want libraries that the others exclude or do not need); one JSON object a line.

Group-sequential bounds are checked by the multivariate normal distribution function, which shares no code with a recursion.
"""

import json
import math

import numpy as np
import scipy.stats as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import betainc, betaln, lambertw, logsumexp
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportions_chisquare
import ville

rng = np.random.default_rng(20261127)


def say(case, inputs, expected):
    print(json.dumps({"case": case, "inputs": inputs, "expected": float(expected)}))


for _ in range(24):
    arms = int(rng.integers(2, 5))
    shares = rng.dirichlet(np.ones(arms) * 3).tolist()
    counts = rng.multinomial(int(rng.integers(50, 20000)), rng.dirichlet(np.array(shares) * 2000)).tolist()
    expected = np.array(shares) * sum(counts)
    say("chi_square_p", {"counts": counts, "shares": shares}, st.chisquare(counts, expected).pvalue)
for n, canary in [(2000, 61), (500, 4), (90000, 1000)]:
    stat, p, _ = proportions_chisquare([canary, canary + 30], [n, n])
    say("two_proportions_p", {"bad": [canary, canary + 30], "n": n}, p)

# The Dirichlet-multinomial Bayes factor: two probability mass functions, their order-free coefficients cancelling.
srm = []
for _ in range(16):
    shares = rng.dirichlet(np.ones(3) * 3)
    counts = rng.multinomial(int(rng.integers(50, 20000)), rng.dirichlet(shares * 800))
    srm.append((shares, counts))
    n = counts.sum()
    ln_e = st.dirichlet_multinomial.logpmf(counts, 1000 * shares, n) - st.multinomial.logpmf(counts, n, shares)
    say("srm_ln_e", {"counts": counts.tolist(), "shares": shares.tolist()}, ln_e)
try:
    from savvi.multinomial import Multinomial

    for shares in ([0.5, 0.5], [0.25, 0.75], [0.125, 0.375, 0.5]):
        counts = rng.multinomial(4000, shares)
        test = Multinomial(0.05, np.array(shares), 1000)
        test.update(counts)
        say("srm_ln_e", {"counts": counts.tolist(), "shares": shares}, math.log(test.odds))
except ImportError:
    pass  # it needs a plotting library

for t0 in (0.02, 0.1, 0.3):
    for bad, fine in [(3, 40), (30, 70), (200, 300), (0, 25)]:
        for a, b in [(1, 1), (100 * t0, 100 * (1 - t0))]:
            tail = lambda x, y: math.log(betainc(y, x, 1 - t0))
            ln_e = betaln(a + bad, b + fine) + tail(a + bad, b + fine) - betaln(a, b) - tail(a, b)
            ln_e -= bad * math.log(t0) + fine * math.log1p(-t0)
            say("truncated_beta", {"bad": bad, "fine": fine, "t0": t0, "a": a, "b": b}, ln_e)

for margin in (0.0, 0.1, 0.5):
    for sign in (1, -1):
        grid = (1 + margin) * np.exp(sign * np.linspace(math.log(1.05), math.log(20), 24))
        looks = [(float(rng.uniform(0.01, 0.6)), int(rng.poisson(20)), int(rng.poisson(60))) for _ in range(8)]
        apart = np.exp(np.linspace(math.log(1.05), math.log(20), 24))
        weights = np.where((apart >= 1.6) & (apart <= 9) & (sign > 0), 4.0, 1.0)
        sums = np.log(weights / weights.sum())
        for rho, s, f in looks:
            t0 = (1 + margin) * rho / ((1 + margin) * rho + 1 - rho)
            theta = grid * rho / (grid * rho + 1 - rho)
            sums = sums + s * np.log(theta / t0) + f * np.log((1 - theta) / (1 - t0))
        say("odds_grid", {"margin": margin, "harm": sign > 0, "looks": looks}, logsumexp(sums))

for alpha in (0.001, 0.05, 0.2):
    for t_opt in (100, 5000):
        say("rho2", {"alpha": alpha, "t_opt": t_opt}, (-lambertw(-(alpha**2) / math.e, -1).real - 1) / t_opt)

for z in (-4.0, -0.5, 0.0, 1.0, 3.0, 7.0):
    for time in (0.1, 3.0, 200.0):
        # The half-normal mixture, by the definition: twice the mean of exp(λS - λ²n/2) over positive λ.
        rho, n = math.sqrt(time / 1000), 1000.0
        s = z * math.sqrt(n)
        f = lambda lam: 2 * st.norm.pdf(lam / rho) / rho * math.exp(lam * s - lam * lam * n / 2)
        width = rho / math.sqrt(time + 1)
        peak = max(s * width * width, 0.0)
        value = quad(f, 0, peak + 40 * width, epsabs=0, epsrel=1e-12, limit=500, points=[peak + width])[0]
        say("ln_e_above", {"z": z, "time": time}, math.log(value))

for seed, propensity in [(1, 0.5), (2, 0.1), (3, 0.3)]:
    r = np.random.default_rng(seed)
    a = (r.uniform(size=600) < propensity).astype(float)
    y = r.exponential(size=600) + 0.2 * a
    test = ville.AsymptoticABTest(alpha=0.05, propensity=propensity, t_opt=500)
    test.fit(y, a)
    for end, value in zip(("lower", "upper"), test.interval()):
        inputs = {"outcomes": y.tolist(), "on_canary": a.tolist(), "propensity": propensity, "t_opt": 500}
        say(f"ab_{end}", inputs, value)

times_table = [[0.5, 1.0], [0.2, 0.6, 1.0], [0.25, 0.5, 0.75, 1.0], [0.1, 0.35, 0.4, 0.9, 1.0]]
for times in times_table:
    t = np.array(times)
    cov = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    for alpha in (0.025, 0.05):
        for name in ("obrien_fleming", 1.0, 2.0):
            spent = 2 * st.norm.sf(st.norm.isf(alpha / 2) / np.sqrt(t)) if name == "obrien_fleming" else alpha * t**name
            # The Rust side finds bounds; the chance that one of them is crossed must be what was spent by then.
            say("spent", {"times": times, "alpha": alpha, "spending": name, "cov": cov.tolist()}, spent[-1])
            b = st.norm.isf(spent[0])
            say("first_bound", {"times": times, "alpha": alpha, "spending": name}, min(b, 8.0))
            f = lambda x: 1 - st.multivariate_normal.cdf([b, x], mean=[0, 0], cov=cov[:2, :2], abseps=1e-12, releps=1e-12) - spent[1]
            say("second_bound", {"times": times, "alpha": alpha, "spending": name}, brentq(f, 0, 8, xtol=1e-12))

for effect in (0.05, 0.3):
    for alpha, power in [(0.05, 0.8), (0.01, 0.9)]:
        for ratio in (1.0, 4.0):
            n1 = NormalIndPower().solve_power(effect, alpha=alpha, power=power, ratio=ratio, alternative="larger")
            say("fixed", {"distance": effect, "share": 1 / (1 + ratio), "alpha": alpha, "power": power}, n1 * (1 + ratio))

try:
    from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
    from gbstats.models.statistics import RatioStatistic, SampleMeanStatistic

    def sums(x):
        return SampleMeanStatistic(n=len(x), sum=float(x.sum()), sum_squares=float((x * x).sum()))

    for seed in range(6):
        r = np.random.default_rng(100 + seed)
        arms = []
        for lift, n in ((1.0, 700), (1.1, 400)):
            d = r.integers(1, 6, size=n).astype(float)
            m = r.poisson(d * lift).astype(float)
            arms.append((m, d))
        for kind in ("relative", "absolute"):
            config = SequentialConfig(alpha=0.05, difference_type=kind, sequential_tuning_parameter=1000)
            plain = SequentialTwoSidedTTest(sums(arms[0][0]), sums(arms[1][0]), config).compute_result()
            inputs = {"stable": arms[0][0].tolist(), "canary": arms[1][0].tolist(), "relative": kind == "relative", "n_star": 1000}
            say("gbstats_lower", inputs, plain.ci[0])
            say("gbstats_p", inputs, plain.p_value)
            ratio = [RatioStatistic(n=len(m), m_statistic=sums(m), d_statistic=sums(d), m_d_sum_of_products=float((m * d).sum())) for m, d in arms]
            result = SequentialTwoSidedTTest(ratio[0], ratio[1], config).compute_result()
            inputs = {**inputs, "stable_below": arms[0][1].tolist(), "canary_below": arms[1][1].tolist()}
            say("gbstats_ratio_lower", inputs, result.ci[0])
except ImportError:
    pass  # it wants an older numpy than the others
