"""Compares the exported graphs in onnxruntime with burn's and tract's answers, and checks the files.

    cargo run --release -p tickerml-trainer --example onnx_parity -- FOLDER
    compare.py FOLDER

Needs numpy, onnx and onnxruntime. All 1,000 windows are asked in the window form and every tenth step by step;
the long stream is asked step by step, and compared at every step.

Exit code: 0 when everything agrees within 1e-4, else 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx

from parity import Folder, Network, Stream

TOLERANCE = 1e-4
STREAMED_ONE_IN = 10
COMPARE_EVERY = 500
GRAPHS = ("backbone", "head", "backbone.window", "head.window")
STANDARD = {"", "ai.onnx"}


def check(folder: Folder) -> None:
    """The files are ONNX of standard operators that says what it is."""
    for bundle in ("model", "int8"):
        for graph in GRAPHS:
            model = onnx.load(folder.path / bundle / f"{graph}.onnx")
            onnx.checker.check_model(model, full_check=True)
            assert {node.domain for node in model.graph.node} <= STANDARD
            assert [entry.version for entry in model.opset_import] == [20]
            keys = {entry.key for entry in model.metadata_props}
            assert {"tickerml.schema", "tickerml.shape", "tickerml.weights"} <= keys, keys
            assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))
    print(f"onnx.checker: {2 * len(GRAPHS)} files are well-formed, opset 20, standard operators alone")


def main() -> int:
    folder = Folder(Path(sys.argv[1]))
    check(folder)
    network, most = Network(folder), {}

    def note(what: str, one: np.ndarray, other: np.ndarray) -> None:
        most[what] = max(most.get(what, 0.0), float(np.abs(one - other).max()))

    tract = {form: folder.heads(f"windows.{form}") for form in ("streaming", "window", "burn")}
    for place, rows in enumerate(folder.windows("windows")):
        answer = network.window(rows)
        for form, heads in tract.items():
            note(f"onnxruntime window to {'' if form == 'burn' else 'tract '}{form}", answer, heads[place])
        if place % STREAMED_ONE_IN == 0:
            stream = Stream(network)
            for step in zip(rows.state, rows.valid, rows.previous, rows.live, strict=True):
                streamed = stream.step(*step)
            note("onnxruntime streaming to its window", streamed, answer)
    (rows,) = folder.windows("stream")
    heads, stream = folder.heads("stream.streaming"), Stream(network)
    for at, step in enumerate(zip(rows.state, rows.valid, rows.previous, rows.live, strict=True)):
        streamed = stream.step(*step)
        note(f"{len(rows)} streamed steps, onnxruntime to tract", streamed, heads[at])
        if (at + 1) % COMPARE_EVERY == 0:
            cut = rows.cut(at + 1 - folder.sizes["steps"], at + 1, folder.sizes["actions"])
            note("onnxruntime streaming to a fresh window, for ever", streamed, network.window(cut))
    for what, error in most.items():
        print(f"{what}: {error:.2e}")
    worst = max(most.values())
    print(f"largest difference: {worst:.2e}, allowed {TOLERANCE:.0e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
