"""Compares the trainer with its restatement in PyTorch, weight for weight and step for step.

    reference.py FOLDER

FOLDER holds what `tickerml-trainer prove parity` wrote. Checked are
  * every head of the reference network and of a small one, before and after training: within 1e-5;
  * 200 steps of AdamW from the same weights on the same batches: total loss and each head's within 1 %.
Exit code: 0 all hold, 1 one does not.
"""

from __future__ import annotations

import sys

import torch

from network import HEADS, Network, optimizer, read, train_step, under

FORWARD = 1e-5
CURVE = 0.01
# Below this a loss counts as equal when it differs by CURVE times this.
SMALL = 1e-3


def judge(name: str, value: float, bar: float) -> bool:
    print(f"parity       {name:<62} {value:>9.2e}  <= {bar:<8.0e} {'PASS' if value <= bar else 'FAIL'}")
    return value <= bar


def forward(name: str, network: Network, batch: dict, answer: dict) -> bool:
    """The largest difference over all heads, at the steps that are live or not."""
    with torch.no_grad():
        ours = network(batch)
    return judge(name, max((ours[head] - answer[head]).abs().max().item() for head in HEADS), FORWARD)


def curve(tensors: dict, facts: dict) -> bool:
    """Trains as the trainer did and compares every step."""
    terms, batches = facts["terms"], under("batch", tensors)
    network = Network(facts["spec"], facts["statistics"], under("weight", tensors))
    adamw = optimizer(network, terms)
    columns = ("total", "action", "position", "risk", "value", "accuracy", "norm", "rate")
    worst = dict.fromkeys(("total", "action", "position", "risk", "value", "norm", "rate"), 0.0)
    for step, row in enumerate(tensors["course"].tolist()):
        theirs = dict(zip(columns, row))
        batch = {name: values[step] for name, values in batches.items()}
        total, parts, norm = train_step(network, adamw, batch, terms, step)
        ours = {"total": total.item(), "norm": norm.item(), "rate": adamw.param_groups[0]["lr"]}
        ours |= {name: part.item() for name, part in parts.items()}
        for name in worst:
            scale = max(abs(theirs[name]), SMALL if name != "rate" else 1e-12)
            worst[name] = max(worst[name], abs(ours[name] - theirs[name]) / scale)
    steps, first, last = len(tensors["course"]), tensors["course"][0, 0], tensors["course"][-1, 0]
    print(f"parity       total loss from {first:.4f} to {last:.4f} in {steps} steps")
    names = {"norm": "gradient norm", "rate": "learning rate"}
    held = [
        judge(f"{steps} steps: largest relative difference of {names.get(name, name)}", value, CURVE)
        for name, value in worst.items()
    ]
    trained = under("trained", tensors)
    moved = max((value - trained[name]).abs().max().item() for name, value in network.named_weights())
    print(f"parity       {'largest difference of a weight after them':<62} {moved:>9.2e}")
    return all(held)


def main() -> int:
    folder = sys.argv[1]
    torch.manual_seed(0)
    held = []
    tensors, facts = read(f"{folder}/reference.safetensors")
    network = Network(facts["spec"], facts["statistics"], under("weight", tensors))
    batch = {name: values[0] for name, values in under("batch", tensors).items()}
    held.append(forward("reference network: largest difference of a head", network, batch, under("answer", tensors)))
    tensors, facts = read(f"{folder}/curve.safetensors")
    batch = {name: values[0] for name, values in under("batch", tensors).items()}
    for name, weights, answer in (("fresh", "weight", "answer"), ("trained", "trained", "trained_answer")):
        network = Network(facts["spec"], facts["statistics"], under(weights, tensors))
        held.append(forward(f"{name} small network: largest difference of a head", network, batch, under(answer, tensors)))
    held.append(curve(tensors, facts))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
