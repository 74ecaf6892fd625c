"""Somebody else's trainer, from the plan to a registered version: what it must find, and how it ends when it is told."""
import json
import signal
import subprocess
import time
from pathlib import Path

from shop import Shop, finished

# Of 60 items, 20 are shown; popularity finds a third of what was bought. Who has learned the ranges finds nearly all.
GATE = {"metric": {"kind": "recall", "k": 20}, "versus": "popularity", "demand": {"atLeastBetter": {"absolute": 0.4}}}


def trains(shop: Shop, trainer: list[str], run: str, family: str) -> None:
    """Prepare, train, check, publish, register. The gate of the run would reject what has learned nothing."""
    shop.plan(run, admission={"gates": [GATE]})
    desk = shop.folder / f"desk-{run}"
    shop.train("prepare", str(desk), "--run", run)
    said = finished([*trainer, str(desk)], shop.folder)
    assert said.stdout.strip(), "a trainer tells of its progress"
    shop.say("bundle", "check", str(desk / "bundle"))
    shop.train("publish", str(desk), "--run", run)
    result = shop.result(run)
    assert (result["end"], result["labels"]["family"]) == ("uploaded", family), result
    recall = result["metrics"]["recall@20"]
    assert recall >= 0.9, f"recall@20 is {recall}"
    shop.register(run)
    print(f"  {family}: recall@20 {recall:.3f} on the holdout, {result['digest'][:19]}")

    # Once more, as a pod that was started again: there is nothing to do.
    again = shop.folder / f"again-{run}"
    shop.train("prepare", str(again), "--run", run)
    finished([*trainer, str(again)], shop.folder)
    assert not (again / "bundle").exists()
    assert json.loads((again / "ended.json").read_text())["end"] == "uploaded"


def finds_its_folder_in_the_environment(shop: Shop, trainer: list[str], run: str) -> None:
    """As in a pod, where nobody writes the folder's name into the arguments."""
    shop.plan(run)
    desk = shop.folder / f"desk-{run}"
    shop.train("prepare", str(desk), "--run", run)
    finished(trainer, shop.folder, FAIRWAY_DIR=str(desk))
    shop.say("bundle", "check", str(desk / "bundle"))


def stops_when_told(shop: Shop, trainer: list[str], run: str) -> None:
    """In the middle of a long fit, as process 1 of a container would have to."""
    shop.plan(run)
    desk = shop.folder / f"desk-{run}"
    shop.train("prepare", str(desk), "--run", run)
    with subprocess.Popen([*trainer, str(desk)], cwd=shop.folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert any('"fit"' in line for line in process.stdout), "it never said that it fits"
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(10)
        finally:
            process.kill()
    took = time.monotonic() - asked
    assert code == 143 and took < 5, f"exit code {code} after {took:.1f} s"
    assert not (desk / "bundle").exists()
    left = shop.train("publish", str(desk), "--run", run, expect=5)
    assert "bundle.json" in left.stderr, left.stderr


def refuses_a_bundle_of_another_run(shop: Shop, trainer: list[str]) -> None:
    """What is left in a folder is not taken for what was asked."""
    for run in ("one", "other"):
        shop.plan(run)
    desk = shop.folder / "desk-one"
    shop.train("prepare", str(desk), "--run", "one")
    finished([*trainer, str(desk)], shop.folder)
    manifest = desk / "bundle" / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"run": "one"', '"run": "other"'))
    left = shop.train("publish", str(desk), "--run", "one", expect=5)
    assert "bundle.json is of run other" in left.stderr + left.stdout, left


def bundle_of(shop: Shop, run: str) -> Path:
    return shop.folder / f"desk-{run}" / "bundle"
