"""Takes the time of a training step in the trainer and in PyTorch, in turns on the same machine.

    speed.py FOLDER [--turns N] [--steps N] [--threads N] -- COMMAND...

COMMAND is the trainer's own measurement: it trains the reference network for some steps and prints one JSON line
{"milliseconds": [...]}; `--steps N` is added to it. PyTorch trains the same network, from FOLDER/reference.safetensors,
on a batch of the same size, with as many threads. Turns alternate, and medians are compared, so that a busy machine
slows both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

from network import Network, optimizer, read, train_step, under

# Steps of a turn that warm up and are not counted.
WARM = 2


def ours(network, adamw, batch, terms, steps: int) -> list[float]:
    times = []
    for step in range(steps):
        began = time.perf_counter()
        total, _, _ = train_step(network, adamw, batch, terms, step)
        total.item()
        times.append(1e3 * (time.perf_counter() - began))
    return times[WARM:]


def theirs(command: list[str], steps: int, threads: int) -> list[float]:
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    done = subprocess.run([*command, "--steps", str(steps)], env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1])["milliseconds"][WARM:]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tensors, facts = read(f"{arguments.folder}/reference.safetensors")
    network = Network(facts["spec"], facts["statistics"], under("weight", tensors))
    adamw = optimizer(network, facts["terms"])
    batch = {name: values[0] for name, values in under("batch", tensors).items()}
    torch_times, burn_times = [], []
    for _ in range(arguments.turns):
        torch_times += ours(network, adamw, batch, facts["terms"], arguments.steps)
        burn_times += theirs(arguments.command, arguments.steps, arguments.threads)
    torch_ms, burn_ms = statistics.median(torch_times), statistics.median(burn_times)
    rows, steps = batch["live"].shape
    print(f"speed        a training step of the reference network, {rows} sequences of {steps} steps, {arguments.threads} threads, medians")
    print(f"speed        PyTorch {torch.__version__:<53} {torch_ms:>9.1f} ms")
    print(f"speed        {'trainer':<61} {burn_ms:>9.1f} ms")
    print(f"speed        {'PyTorch over trainer (above 1: the trainer is faster)':<61} {torch_ms / burn_ms:>9.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
