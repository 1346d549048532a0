"""Times TA-Lib computing all indicators that TickerML has in common with it anew at each bar.

    talib_batch.py BARS.csv

BARS.csv has lines `open,high,low,close,volume`. Called by `cargo bench -p tickerml-benches --bench features`
when TICKERML_TALIB names the Python that has TA-Lib, for instance:

    python3 -m venv FOLDER && FOLDER/bin/pip install --no-deps --only-binary :all: TA-Lib==0.8.2 numpy==2.4.6
    TICKERML_TALIB=FOLDER/bin/python cargo bench -p tickerml-benches --bench features -- bars

Prints one JSON object: times in nanoseconds a bar. Exit code 77: no TA-Lib here.
"""

from __future__ import annotations

import json
import sys
import time

SKIPPED = 77
WINDOW = 250
"""Bars that each call sees: what is recursive has settled over them to about 1e-6."""
CALLS = 3_000
"""Bars that are measured."""
PASSES = 3


def indicators(ta, opened, high, low, close, volume) -> list:
    """Everything once; a call gives one column or several."""
    return [
        ta.SMA(close, 20),
        ta.EMA(close, 20),
        ta.WMA(close, 20),
        ta.DEMA(close, 20),
        ta.TEMA(close, 20),
        ta.KAMA(close, 10),
        ta.RSI(close, 14),
        ta.STOCH(high, low, close, 14, 3, 0, 3, 0),
        ta.STOCHF(high, low, close, 9, 3, 0),
        ta.STOCHRSI(close, 14, 14, 3, 0),
        ta.WILLR(high, low, close, 14),
        ta.MACD(close, 12, 26, 9),
        ta.PPO(close, 12, 26, 1),
        ta.TRIX(close, 15),
        ta.CCI(high, low, close, 20),
        ta.CMO(close, 14),
        ta.MFI(high, low, close, volume, 14),
        ta.ROC(close, 10),
        ta.MOM(close, 10),
        ta.ULTOSC(high, low, close, 7, 14, 28),
        ta.ADX(high, low, close, 14),
        ta.PLUS_DI(high, low, close, 14),
        ta.MINUS_DI(high, low, close, 14),
        ta.AROON(high, low, 25),
        ta.AROONOSC(high, low, 25),
        ta.SAR(high, low, 0.02, 0.2),
        ta.ATR(high, low, close, 14),
        ta.NATR(high, low, close, 14),
        ta.TRANGE(high, low, close),
        ta.BBANDS(close, 20, 2.0, 2.0, 0),
        ta.STDDEV(close, 20, 1.0),
        ta.MAX(high, 20),
        ta.MIN(low, 20),
        ta.OBV(close, volume),
        ta.AD(high, low, close, volume),
        ta.ADOSC(high, low, close, volume, 3, 10),
        ta.LINEARREG_SLOPE(close, 20),
        ta.LINEARREG_INTERCEPT(close, 20),
        ta.CORREL(high, low, 20),
        ta.BOP(opened, high, low, close),
    ]


def main() -> int:
    """All passes; each figure is its least over them."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        import numpy
        import talib
    except ImportError as error:
        print(f"{error}; benches/talib_batch.py says how to install it", file=sys.stderr)
        return SKIPPED
    bars = numpy.loadtxt(sys.argv[1], delimiter=",")
    columns = [numpy.ascontiguousarray(column) for column in bars.T]
    last = indicators(talib, *(column[:WINDOW] for column in columns))
    values = sum(len(made) if isinstance(made, tuple) else 1 for made in last)
    ends = range(WINDOW, min(len(bars), WINDOW + CALLS))
    least: dict[str, float] = {}
    for _ in range(PASSES):
        times = []
        for end in ends:
            windows = [column[end - WINDOW : end] for column in columns]
            began = time.perf_counter_ns()
            indicators(talib, *windows)
            times.append(time.perf_counter_ns() - began)
        times.sort()
        found = {
            "mean": sum(times) / len(times),
            "p50": times[len(times) // 2],
            "p99": times[len(times) * 99 // 100],
            "p999": times[len(times) * 999 // 1000],
            "max": times[-1],
        }
        least = {key: min(value, least.get(key, value)) for key, value in found.items()}
    print(json.dumps({"version": talib.__version__, "window": WINDOW, "values": values, "count": len(ends), **least}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
