"""Compares TickerML's Alpha158 with pyqlib's own expressions, evaluated by pyqlib's own operators.

    compare.py --bar-factors PROGRAM [--data FOLDER]

Bars are the recorded ones of FOLDER/binance-ohlcv, where they are, and generated ones with what records lack:
bars without trades, prices that stay, coins as cheap as 1e-5. Bars of records carry no traded value, so their
typical price stands for the average. Only where Qlib's window is full are values compared; before, ours must
be unknown. The few other places where one side knows a value and the other does not are counted, and each must
have the reason that shared/src/features/alpha158.rs gives.

Exit code: 0 equal, 1 a difference, 2 wrong use.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import zstandard
from qlib.contrib.data.loader import Alpha158DL
from qlib.data import base, ops
from qlib.data.cache import H
from qlib.utils import parse_field

COLUMNS = ["open", "high", "low", "close", "volume", "value"]
RECORDS = [
    "spot_BTCUSDT_1h",
    "spot_ETHUSDT_1h",
    "um_SOLUSDT_5m_futures",
    "um_LINKUSDT_1m_futures",
    "um_TRXUSDT_1m_futures",
]
BARS = 4_000
"""Of each record: its newest."""
PIECE = 500
"""Both begin anew so often: pyqlib and pandas carry sums from bar to bar, which drift."""
FLAT_THEIRS = 2e-05
"""A standard deviation below which Qlib gives no correlation."""

# Relative to the greater of the value and one. pandas and pyqlib take the difference of two large sums for
# standard deviations and correlations, so these carry their rounding.
TOLERANCE = 1e-9
TOLERANCES = {"STD": 1e-8, "RSQR": 1e-6, "CORR": 1e-6, "CORD": 1e-6, "VSTD": 1e-8, "WVMA": 1e-8}

CHANGES = {"ROC", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "WVMA", "VSUMP", "VSUMN", "VSUMD"}
"""Operators that look one bar further back than their window."""


class Column(base.Feature):
    """A column of the bars at hand, in the place of Qlib's provider of stored ones."""

    bars: pd.DataFrame

    def _load_internal(self, instrument, start_index, end_index, *args):
        return self.bars[self._name]


class Operators:
    """What parsed expressions name; Qlib makes the same of its list of operators."""

    def __getattr__(self, name: str):
        return Column if name == "Feature" else getattr(ops, name)


def theirs(bars: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Qlib's factors, and for correlations whether it leaves them out for a small standard deviation."""
    H.clear()
    Column.bars = bars.assign(vwap=bars.value / bars.volume)
    scope = {"Operators": Operators()}
    values, small = {}, {}
    for expression, name in zip(*Alpha158DL.get_feature_config()):
        # The expressions are pyqlib's own, and this is how pyqlib evaluates them.
        tree = eval(parse_field(expression), scope)
        values[name] = tree.load("bars", 0, len(bars) - 1, "day").to_numpy(dtype=float)
        operands = [getattr(tree, side) for side in ("feature_left", "feature_right", "feature") if hasattr(tree, side)]
        if isinstance(tree, (ops.Corr, ops.Rsquare)):
            columns = [operand.load("bars", 0, len(bars) - 1, "day") for operand in operands]
            deviations = [column.rolling(tree.N, min_periods=1).std() for column in columns]
            small[name] = np.any([deviation <= 2 * FLAT_THEIRS for deviation in deviations], axis=0)
    return values, small


def ours(program: Path, bars: pd.DataFrame) -> dict[str, np.ndarray]:
    """TickerML's factors by the names of the table."""
    text = bars[COLUMNS].to_csv(header=False, index=False, float_format="%.17g")
    done = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program} ended with {done.returncode}: {done.stderr}")
    names, *lines = map(json.loads, done.stdout.splitlines())
    return dict(zip(names, np.array(lines, dtype=float).T))


def cut(name: str) -> tuple[str, int]:
    """`ROC5` is ROC over 5 bars; a factor of the newest bar alone has a window of zero."""
    stem, digits = re.fullmatch(r"(\D+)(\d*)", name).groups()
    return (name, 0) if digits in ("", "2") else (stem, int(digits))


def our_name(name: str) -> str:
    """As the table of features calls it."""
    stem, window = cut(name)
    is_plain = stem == name
    return f"alpha158_{stem}".lower() if is_plain else f"alpha158_{stem}_{window}".lower()


def records(folder: Path) -> dict[str, pd.DataFrame]:
    """The newest bars of each record."""
    found = {}
    for name in RECORDS:
        path = folder / "binance-ohlcv" / f"{name}.csv.zst"
        if not path.is_file():
            print(f"SKIP {name}: no {path}; set TICKERML_DATA or --data", file=sys.stderr)
            continue
        with path.open("rb") as file:
            text = zstandard.ZstdDecompressor().stream_reader(file).read()
        bars = pd.read_csv(io.BytesIO(text)).tail(BARS).reset_index(drop=True)
        found[name] = bars.assign(value=bars.volume * (bars.high + bars.low + bars.close) / 3)
    return found


def generated(seed: int, tick: float, price: int, step: int, empty: float, still: float) -> pd.DataFrame:
    """A market of integer ticks, in which a part of the bars has no trade, or a close that stays."""
    random = np.random.default_rng(seed)
    rows, close = [], price
    for _ in range(BARS // 2):
        before = close
        if random.random() < empty:
            rows.append((before, before, before, before, 0.0, 0.0))
            continue
        if random.random() >= still:
            close = max(1, close + int(random.integers(-step, step + 1)))
        high = max(before, close) + int(random.integers(0, step))
        low = max(1, min(before, close) - int(random.integers(0, step)))
        volume = float(random.integers(1, 10_000)) / 100
        rows.append((before, high, low, close, volume, volume * (high + low) / 2))
    bars = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("open", "high", "low", "close", "value"):
        bars[column] *= tick
    return bars


def markets() -> dict[str, pd.DataFrame]:
    """Generated bars."""
    return {
        "generated, ordinary": generated(1, 0.01, 100_000, 100, 0.0, 0.05),
        "generated, many ties": generated(2, 0.1, 300, 2, 0.05, 0.4),
        "generated, few trades": generated(3, 0.01, 10_000, 10, 0.6, 0.2),
        "generated, nothing but one price": generated(4, 0.01, 10_000, 1, 0.3, 1.0),
        "generated, a cheap coin": generated(5, 1e-8, 1_234, 4, 0.03, 0.2),
    }


class Comparison:
    """What was seen over all series."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.failures: list[str] = []

    def check(self, what: str, bars: pd.DataFrame) -> None:
        """Compares a series piece by piece."""
        began = time.monotonic()
        worst: dict[str, float] = defaultdict(float)
        seen: Counter[str] = Counter()
        for start in range(0, len(bars), PIECE):
            piece = bars[start : start + PIECE].reset_index(drop=True)
            expected, small = theirs(piece)
            values = ours(self.program, piece)
            if [our_name(name) for name in expected] != list(values):
                raise SystemExit("the names or their order differ from Qlib's")
            for name, want in expected.items():
                self.check_factor(f"{what} from bar {start}", name, values[our_name(name)], want, small.get(name), piece, worst, seen)
        top = sorted(worst.items(), key=lambda item: -item[1])[:5]
        counts = ", ".join(f"{count} {key}" for key, count in sorted(seen.items()) if count)
        print(f"{what}: {len(bars)} bars, {counts} ({time.monotonic() - began:.1f} s)")
        print("  farthest off: " + ", ".join(f"{name} {off:.1e}" for name, off in top), flush=True)

    def check_factor(self, where, name, value, want, small, bars, worst, seen) -> None:
        """One factor over a piece."""
        operator, window = cut(name)
        first = max(window - 1, 0) + (operator in CHANGES)
        if not np.isnan(value[:first]).all():
            self.failures.append(f"{where}: {name} is known before its window is full")
        value, want = value[first:], want[first:]
        want = np.where(np.isfinite(want), want, np.nan)
        volume = bars.volume.to_numpy()[first:]
        unknown = np.isnan(value)
        excused = np.zeros(len(value), dtype=bool)
        if operator in ("VMA", "VSTD"):
            excused = unknown & (volume == 0)
            seen["unknown for the newest bar has no volume"] += int(excused.sum())
        elif operator == "VWAP0" or name == "VWAP0":
            excused = np.isnan(want) & (volume == 0) & (value == 1)
            seen["one for the bar has no trades"] += int(excused.sum())
        elif small is not None:
            excused = np.isnan(want) & ~unknown & small[first:]
            seen["left out by Qlib for a standard deviation below 2e-5"] += int(excused.sum())
        differing = (unknown != np.isnan(want)) & ~excused
        both = ~unknown & ~np.isnan(want) & ~excused
        off = np.zeros(len(value))
        off[both] = np.abs(value[both] - want[both]) / np.maximum(1, np.abs(want[both]))
        seen["values equal"] += int(both.sum())
        seen["unknown to both"] += int((unknown & np.isnan(want)).sum())
        tolerance = TOLERANCES.get(operator, TOLERANCE)
        for place in np.flatnonzero(off > tolerance):
            # Theirs once more from the bars of this one window, where nothing has drifted.
            end = first + place + 1
            again = theirs(bars[max(0, end - window - 1) : end].reset_index(drop=True))[0][name][-1]
            off[place] = abs(value[place] - again) / max(1, abs(again))
            seen["equal only when Qlib's begins anew"] += 1
        worst[operator] = max(worst[operator], off.max(initial=0))
        differing |= ~(off <= tolerance)
        for place in np.flatnonzero(differing)[:3]:
            self.failures.append(f"{where}: {name} at {first + place}: ours {value[place]:.17g}, Qlib's {want[place]:.17g}")


def main() -> int:
    """The whole comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bar-factors", type=Path, required=True, help="the bar-factors program")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="recorded market data")
    arguments = parser.parse_args()
    # Divisions by zero are part of what is compared.
    warnings.simplefilter("ignore", RuntimeWarning)
    comparison = Comparison(arguments.bar_factors)
    for what, bars in (records(arguments.data) | markets()).items():
        comparison.check(what, bars)
    for failure in comparison.failures[:20]:
        print(failure)
    print(f"alpha158 against pyqlib: {len(comparison.failures)} differences")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
