"""Times a decision in onnxruntime on one thread, for the figures beside tract's.

    speed.py FOLDER

FOLDER is what `onnx_parity` writes. It prints one JSON object: microseconds of a decision with the whole window
computed anew, and of one step with its cache (which numpy keeps), medians.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from parity import Folder, Network, Stream

WARM_UP = 50
WINDOWS = 300
STEPS = 2000


def main() -> int:
    folder = Folder(Path(sys.argv[1]))
    network = Network(folder)
    windows = [rows for rows in folder.windows("windows") if len(rows) == folder.sizes["steps"]]
    times = []
    for turn in range(WARM_UP + WINDOWS):
        inputs = network.window_inputs(windows[turn % len(windows)])
        start = time.perf_counter_ns()
        network.run_window(*inputs)
        times.append((time.perf_counter_ns() - start) / 1000)
    window = statistics.median(times[WARM_UP:])
    (rows,) = folder.windows("stream")
    stream, times = Stream(network), []
    steps = zip(rows.state, rows.valid, rows.previous, rows.live, strict=True)
    for _, step in zip(range(WARM_UP + STEPS), steps):
        start = time.perf_counter_ns()
        stream.step(*step)
        times.append((time.perf_counter_ns() - start) / 1000)
    step = statistics.median(times[WARM_UP:])
    print(json.dumps({"onnxruntime_window_us": round(window, 1), "onnxruntime_step_us": round(step, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
