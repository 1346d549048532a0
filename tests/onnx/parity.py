"""What compare.py and speed.py share: the folder that `onnx_parity` writes, and its graphs in onnxruntime."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

TOKENS = 3
HIDDEN = np.float32(-1e9)


@dataclass
class Rows:
    """Steps of one window: state and valid [n, S], previous [n, A + 2], live [n]."""

    state: np.ndarray
    valid: np.ndarray
    previous: np.ndarray
    live: np.ndarray

    def __len__(self) -> int:
        return len(self.live)

    def cut(self, start: int, end: int, actions: int) -> Rows:
        """The steps from start to end as a window: nothing is before the first."""
        previous = self.previous[start:end].copy()
        previous[0] = 0.0
        previous[0, actions] = 1.0
        return Rows(self.state[start:end], self.valid[start:end], previous, self.live[start:end])


class Folder:
    """The folder with its sizes and numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes = json.loads((path / "sizes.json").read_text())

    def numbers(self, name: str) -> np.ndarray:
        return np.fromfile(self.path / f"{name}.f32", dtype="<f4")

    def heads(self, name: str) -> np.ndarray:
        """Answers [n, A + 3]: logits, size, risk, value."""
        return self.numbers(name).reshape(-1, self.sizes["actions"] + 3)

    def windows(self, name: str) -> list[Rows]:
        state, inputs = self.sizes["state"], self.sizes["actions"] + 2
        width, numbers, windows, at = 2 * state + inputs + 1, self.numbers(name), [], 0
        while at < len(numbers):
            count = int(numbers[at])
            table = numbers[at + 1 : at + 1 + count * width].reshape(count, width)
            cuts = np.split(table, [state, 2 * state, 2 * state + inputs], axis=1)
            windows.append(Rows(cuts[0], cuts[1], cuts[2], cuts[3][:, 0]))
            at += 1 + count * width
        return windows


def session(path: Path) -> onnxruntime.InferenceSession:
    """A graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Network:
    """The graphs of a bundle in onnxruntime."""

    def __init__(self, folder: Folder, bundle: str = "model") -> None:
        home = folder.path / bundle
        self.sizes = folder.sizes
        self.window_graphs = [session(home / f"{part}.window.onnx") for part in ("backbone", "head")]
        self.step_graphs = [session(home / f"{part}.onnx") for part in ("backbone", "head")]
        self.known = {
            name: np.array(self.sizes[name], dtype=np.float32) for name in ("mean", "inverse_scale")
        }

    def target(self, count: int) -> np.ndarray:
        return np.array([[self.sizes["target"], 1.0]] * count, dtype=np.float32)

    def window_inputs(self, rows: Rows) -> tuple[dict[str, np.ndarray], np.ndarray]:
        steps, padding = self.sizes["steps"], self.sizes["steps"] - len(rows)
        pad = lambda table: np.concatenate([np.zeros((padding, table.shape[1]), np.float32), table])
        live = np.concatenate([np.zeros(padding, np.float32), rows.live])
        visible = np.repeat(np.where(live > 0.0, np.float32(0.0), HIDDEN), TOKENS)[None, :]
        inputs = {
            "state": pad(rows.state),
            "valid": pad(rows.valid),
            "previous_action": pad(rows.previous),
            "return": self.target(steps),
            "visible": visible,
            **self.known,
        }
        return inputs, visible

    def run_window(self, inputs: dict[str, np.ndarray], visible: np.ndarray) -> list[np.ndarray]:
        (hidden,) = self.window_graphs[0].run(["hidden"], inputs)
        return self.window_graphs[1].run(None, {"hidden": hidden, "visible": visible})

    def window(self, rows: Rows) -> np.ndarray:
        return np.concatenate(self.run_window(*self.window_inputs(rows)), axis=1)[0]


class Stream:
    """The streaming form, with its own ring."""

    def __init__(self, network: Network) -> None:
        self.network, sizes = network, network.sizes
        self.bands, self.frozen = sizes["bands"], sizes["frozen"]
        shape = lambda band: (sizes["heads"], TOKENS * (band - 1), sizes["d_head"])
        self.caches = {
            f"{kind}.{layer}": np.zeros(shape(band), np.float32)
            for layer, band in enumerate(self.bands)
            if band > 1
            for kind in ("keys", "values")
        }
        self.visible = np.full((1, TOKENS * max(self.bands)), HIDDEN, dtype=np.float32)
        self.names = [[output.name for output in graph.get_outputs()] for graph in network.step_graphs]

    def step(self, state: np.ndarray, valid: np.ndarray, previous: np.ndarray, live: float) -> np.ndarray:
        network = self.network
        self.visible = np.roll(self.visible, -TOKENS, axis=1)
        self.visible[0, -TOKENS:] = 0.0
        of = lambda first, last: {
            name: cache for name, cache in self.caches.items() if first <= int(name.split(".")[1]) < last
        }
        inputs = {
            "state": state[None, :],
            "valid": valid[None, :],
            "previous_action": previous[None, :],
            "return": network.target(1),
            "visible": self.visible,
            **network.known,
            **of(0, self.frozen),
        }
        lower = dict(zip(self.names[0], network.step_graphs[0].run(None, inputs), strict=True))
        inputs = {"hidden": lower["hidden"], "visible": self.visible, **of(self.frozen, len(self.bands))}
        upper = dict(zip(self.names[1], network.step_graphs[1].run(None, inputs), strict=True))
        for name, cache in self.caches.items():
            fresh = (lower | upper)[f"new_{name}"]
            self.caches[name] = np.concatenate([cache[:, TOKENS:], fresh], axis=1)
        self.visible[0, -TOKENS:] = 0.0 if live > 0.0 else HIDDEN
        return np.concatenate([upper[name] for name in ("action", "size", "risk", "value")], axis=1)[0]
