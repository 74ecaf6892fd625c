"""Oracle of off-policy estimates and of exploration: prints JSON lines {"case", "inputs", "expected"}.

Estimates by obp 0.4.1, weight functions that it lacks by their formulas in numpy, best-arm probabilities by scipy. Of
the six small Open Bandit logs in the obp wheel the three that Thompson sampling made, and with the directory of
`action_dist_bts_*.csv` as argument the three random ones too. Needs requirements-ope.txt beside requirements.txt.
"""

import json
import math
import pathlib
import sys
from unittest.mock import MagicMock

# What obp imports for networks, plots and policies: no estimator needs it for arrays, and torch alone is 3 GB.
for name in ("torch", "matplotlib", "matplotlib.pyplot", "seaborn", "obp.policy"):
    sys.modules[name] = MagicMock()
sys.modules["torch"].Tensor = type("Tensor", (), {})

import numpy as np
import obp
import obp.ope as ope
import pandas as pd
from scipy import integrate, stats


def emit(case, inputs, expected):
    print(json.dumps({"case": case, "inputs": inputs, "expected": expected}))


def by_formula(reward, w):
    """What obp has no estimator for: errors, diagnostics, bounds, weights with a limit."""
    n, v, value = len(reward), w * reward, (w * reward).sum() / w.sum()
    ln = math.log(2 / 0.05)
    return {
        "snips_error": math.sqrt(np.mean(w**2 * (reward - value) ** 2) / n) / w.mean(),
        "bernstein": v.mean() - 7 * v.max() * ln / (3 * (n - 1)) - math.sqrt(2 * ln * v.var() / (n - 1)),
        "effective": w.sum() ** 2 / (w**2).sum(),
        "mean_weight": w.mean(),
        "mean_weight_error": w.std() / math.sqrt(n),
        "largest_share": w.max() / w.sum(),
        "clipped": {lam: float((np.minimum(w, lam) * reward).mean()) for lam in (1.5, 10)},
        "sub_gaussian": {lam: float((w / (1 - lam + lam * w) * reward).mean()) for lam in (0.1, 0.5)},
    }


def by_obp(reward, action, pscore, dist, position, q=None):
    log = {"reward": reward, "action": action, "pscore": pscore, "action_dist": dist, "position": position}
    value = lambda estimator, **more: float(estimator.estimate_policy_value(**log, **more))
    found = {"ips": value(ope.InverseProbabilityWeighting()),
             "snips": value(ope.SelfNormalizedInverseProbabilityWeighting())}
    if q is None:
        return found
    model = {"estimated_rewards_by_reg_model": q}
    direct = ope.DirectMethod().estimate_policy_value(action_dist=dist, position=position, **model)
    return found | {
        "dm": float(direct),
        "dr": value(ope.DoublyRobust(), **model),
        "sndr": value(ope.SelfNormalizedDoublyRobust(), **model),
        "switch": {t: value(ope.SwitchDoublyRobust(tau=t), **model) for t in (0.5, 1.5, 4.0)},
        "shrunk": {t: value(ope.DoublyRobustWithShrinkage(lambda_=t), **model) for t in (0.5, 2.0, 50.0)},
    }


def invented(seed):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(50, 400)), int(rng.integers(2, 8))
    logging = rng.dirichlet(np.full(k, rng.uniform(0.5, 5)), n) * 0.9 + 0.1 / k
    policy = rng.dirichlet(np.full(k, rng.uniform(0.3, 3)), n)
    action = np.array([rng.choice(k, p=p) for p in logging])
    q = rng.uniform(0, 1, (n, k))
    reward = (rng.uniform(0, 1, n) < q[np.arange(n), action]).astype(float) * rng.choice([1.0, 2.5])
    q = np.clip(q + rng.normal(0, 0.2, (n, k)), 0, 1)
    rows = np.arange(n)
    pscore, evaluated = logging[rows, action], policy[rows, action]
    expected = by_obp(reward, action, pscore, policy[:, :, None], np.zeros(n, int), q[:, :, None])
    d = (policy * q).sum(1) + evaluated / pscore * (reward - q[rows, action])
    expected |= by_formula(reward, evaluated / pscore) | {"dr_error": d.std() / math.sqrt(n)}
    inputs = {"reward": reward, "logged": pscore, "evaluated": evaluated, "shown": q[rows, action],
              "policy": (policy * q).sum(1)}
    emit("estimates", {name: column.tolist() for name, column in inputs.items()}, expected)


def open_bandit(policy, campaign, dist):
    """The log of `policy`; evaluated is `dist`, items x 3 positions, or uniform if there is none."""
    folder = pathlib.Path(obp.__file__).parent / "dataset" / "obd" / policy / campaign
    log = pd.read_csv(folder / f"{campaign}.csv", index_col=0)
    k = int(log.item_id.max()) + 1
    dist = np.full((k, 3), 1 / k) if dist is None else dist
    action, position, pscore = log.item_id.values, log.position.values - 1, log.propensity_score.values
    reward, evaluated = log.click.values.astype(float), dist[action, position]
    expected = by_obp(reward, action, pscore, np.broadcast_to(dist, (len(log), k, 3)), position)
    expected |= by_formula(reward, evaluated / pscore)
    inputs = {"log": f"{policy}/{campaign}", "reward": reward.tolist(), "logged": pscore.tolist(),
              "evaluated": evaluated.tolist(), "position": position.tolist()}
    emit("open_bandit", inputs, expected)


def best_arm(seed):
    rng = np.random.default_rng(seed)
    count = lambda digits: int(rng.integers(0, 10 ** rng.integers(1, digits)))
    rates = [(count(5), count(6)) for _ in range(3)]
    means = [(rng.normal(), 10 ** rng.uniform(-3, 0)) for _ in range(3)]
    for name, arms, of in (("beta", rates, lambda s, f: stats.beta(s + 1, f + 1)), ("gaussian", means, stats.norm)):
        made = [of(*arm) for arm in arms]
        # In steps of every arm's own quantiles, so that narrow arms are not missed.
        nodes = sorted({float(x) for m in made for q in (1e-16, 1e-12, 1e-8, 1e-5) for x in (m.ppf(q), m.isf(q))}
                       | {float(x) for m in made for x in m.ppf(np.linspace(0.001, 0.999, 60))})
        def weight(i):
            f = lambda x: made[i].pdf(x) * np.prod([m.cdf(x) for j, m in enumerate(made) if j != i], axis=0)
            return sum(integrate.fixed_quad(f, a, b, n=12)[0] for a, b in zip(nodes, nodes[1:]))
        emit(f"best_of_{name}", {"arms": arms}, [weight(i) for i in range(3)])


for seed in range(30):
    invented(seed)
    best_arm(seed)
for campaign in ("all", "men", "women"):
    open_bandit("bts", campaign, None)
    if len(sys.argv) > 1:
        prior = pathlib.Path(sys.argv[1]) / f"action_dist_bts_{campaign}.csv"
        open_bandit("random", campaign, np.loadtxt(prior, delimiter=","))
