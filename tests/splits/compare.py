"""Compares TickerML's splits with those of skfolio, row by row.

    compare.py COMMAND [ARGUMENT...]

The command is called with `--rows N --scheme JSON` and answers with one line of JSON, as
`tickerml-trainer splits --json` does. Exit code: 0 equal, 1 a difference.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward

# folds, test folds, purge, embargo, rows
COMBINATORIAL = [
    (3, 2, 0, 0, 12),
    (3, 2, 1, 0, 12),
    (3, 2, 0, 1, 12),
    (5, 2, 3, 2, 103),
    (6, 2, 5, 5, 1_000),
    (6, 3, 0, 7, 997),
    (8, 4, 9, 1, 500),
    (8, 4, 30, 20, 500),  # a fold between two tests is left without rows by two purges
    (10, 2, 24, 24, 2_001),
    (10, 8, 1, 2, 119),
    (12, 5, 2, 0, 240),
    (7, 1, 4, 3, 200),  # purged k-fold
]
# train, test, purge, embargo, expanding, short end, rows
WALK_FORWARD = [
    (2, 1, 0, 0, False, False, 6),
    (3, 2, 0, 0, True, True, 6),
    (100, 30, 5, 2, False, False, 1_000),
    (100, 30, 5, 2, False, True, 1_000),
    (250, 21, 10, 0, True, False, 999),
    (250, 21, 0, 10, True, True, 1_000),
]
# What skfolio refuses we refuse: folds, test folds, purge, embargo, rows.
REFUSED = [(10, 2, 5, 5, 100), (4, 4, 0, 0, 100), (5, 2, 4, 0, 25), (30, 15, 0, 0, 900)]


def ask(command: list[str], rows: int, scheme: dict) -> dict | None:
    """The splits that TickerML makes, or nothing where it refuses."""
    done = subprocess.run(
        [*command, "--rows", str(rows), "--scheme", json.dumps(scheme)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def listed(ranges: list[dict]) -> list[int]:
    """The rows of some ranges."""
    return [row for one in ranges for row in range(one["start"], one["end"])]


def skfolio_cv(folds: int, tests: int, purge: int, embargo: int) -> CombinatorialPurgedCV:
    """skfolio's splitter. It refuses one test fold by name only; its arithmetic holds for it."""
    cv = CombinatorialPurgedCV(folds, max(tests, 2), purge, embargo)
    cv.n_test_folds = tests
    return cv


def combinatorial(command: list[str]) -> int:
    splits = 0
    for folds, tests, purge, embargo, rows in COMBINATORIAL:
        scheme = {"scheme": "combinatorial", "folds": folds, "test_folds": tests, "purge": purge, "embargo": embargo}
        ours = ask(command, rows, scheme)
        if ours is None:
            sys.exit(f"{scheme} over {rows} rows: refused")
        cv = skfolio_cv(folds, tests, purge, embargo)
        theirs = list(cv.split(np.zeros((rows, 1))))
        if len(theirs) != len(ours["splits"]) or cv.get_path_ids().tolist() != ours["path_ids"]:
            sys.exit(f"{scheme} over {rows} rows: other splits or paths")
        if max(max(ids) for ids in ours["path_ids"]) + 1 != cv.n_test_paths:
            sys.exit(f"{scheme} over {rows} rows: not {cv.n_test_paths} paths")
        for at, ((train, test), split) in enumerate(zip(theirs, ours["splits"], strict=True)):
            same = train.tolist() == listed(split["train"]) and [one.tolist() for one in test] == [
                listed([one]) for one in split["test"]
            ]
            if not same:
                sys.exit(f"{scheme} over {rows} rows: split {at} differs")
            splits += 1
    return splits


def walk_forward(command: list[str]) -> int:
    splits = 0
    for train, test, purge, embargo, expanding, short_end, rows in WALK_FORWARD:
        scheme = {
            "scheme": "walk_forward",
            "train": train,
            "test": test,
            "purge": purge,
            "embargo": embargo,
            "expanding": expanding,
            "short_end": short_end,
        }
        ours = ask(command, rows, scheme)
        cv = WalkForward(
            test_size=test,
            train_size=train,
            expand_train=expanding,
            reduce_test=short_end,
            purged_size=purge + embargo,
        )
        theirs = [(a.tolist(), b.tolist()) for a, b in cv.split(np.zeros((rows, 1)))]
        if ours is None or theirs != [(listed(one["train"]), listed(one["test"])) for one in ours["splits"]]:
            sys.exit(f"{scheme} over {rows} rows differs")
        splits += len(theirs)
    return splits


def refused(command: list[str]) -> None:
    for folds, tests, purge, embargo, rows in REFUSED:
        try:
            list(CombinatorialPurgedCV(folds, tests, purge, embargo).split(np.zeros((rows, 1))))
        except ValueError:
            scheme = {"scheme": "combinatorial", "folds": folds, "test_folds": tests}
            scheme |= {"purge": purge, "embargo": embargo}
            if ask(command, rows, scheme) is not None:
                sys.exit(f"{scheme} over {rows} rows: skfolio refuses it")
        else:
            sys.exit(f"skfolio takes {folds, tests, purge, embargo, rows}")


def main() -> int:
    command = sys.argv[1:]
    if not command:
        sys.exit(__doc__)
    print(f"combinatorial: {combinatorial(command)} splits in {len(COMBINATORIAL)} schemes equal skfolio's")
    print(f"walk-forward: {walk_forward(command)} splits in {len(WALK_FORWARD)} schemes equal skfolio's")
    refused(command)
    print(f"refused, as by skfolio: {len(REFUSED)} schemes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
