"""The network of `trainer/src/spec.rs` and the rules of `trainer/src/train.rs` once more, in plain PyTorch.

Nothing here is taken from the trainer's code: it is written from the forward pass that the head of spec.rs gives.
Tensors carry their shapes beside them: B sequences, T steps, N = 3T tokens, S features, A classes, H heads, width d.
"""

from __future__ import annotations

import json
import math

import torch
import torch.nn.functional as F
from safetensors import safe_open

TOKENS = 3
CLAMP = 8.0
EPSILON = 1e-5
HIDDEN = -1e9
HEADS = ("action", "size", "risk", "value")


def read(path: str) -> tuple[dict[str, torch.Tensor], dict[str, dict]]:
    """Tensors by name, and the facts (spec, statistics, terms) of a file that the trainer wrote."""
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["tickerml"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return tensors, {name: json.loads(text) for name, text in facts.items()}


def under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin so, without the prefix."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}


class Network(torch.nn.Module):
    """The network, made from named weights."""

    def __init__(self, spec: dict, statistics: dict, weights: dict[str, torch.Tensor]):
        super().__init__()
        self.spec = spec
        self.w = torch.nn.ParameterDict({name.replace(".", "/"): value.clone() for name, value in weights.items()})
        self.mean = torch.tensor(statistics["mean"])
        self.inverse_scale = torch.tensor(statistics["inverse_scale"])
        self.return_scale = statistics["return_scale"]

    def named_weights(self):
        """Pairs of the contract's names and parameters."""
        return [(name.replace("/", "."), value) for name, value in self.w.items()]

    def weight(self, name: str) -> torch.Tensor:
        return self.w[name.replace(".", "/")]

    def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight(f"{name}.weight").T, self.weight(f"{name}.bias"))

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight(f"{name}.gamma"), self.weight(f"{name}.beta"), EPSILON)

    def tokens(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Previous action, return-to-go, state of each step, in this order: [B, N, d]."""
        seen = ((batch["states"] - self.mean) * self.inverse_scale).clamp(-CLAMP, CLAMP) * batch["valid"]
        returns = torch.stack([batch["known"] * batch["returns"] / self.return_scale, batch["known"]], -1)
        previous = F.one_hot(batch["previous"].long(), self.spec["actions"] + 1).float()
        previous = torch.cat([previous, batch["previous_size"][..., None]], -1)
        groups = [self.dense("action", previous), self.dense("return", returns), self.dense("state", seen)]
        x = torch.stack(groups, 2)  # [B, T, 3, d]
        return self.norm("embed_norm", x.flatten(1, 2))

    def mask(self, band: int, live: torch.Tensor) -> torch.Tensor:
        """0 where a key may be seen, else HIDDEN: [B, 1, N, N]."""
        steps = live.shape[1]
        token = torch.arange(TOKENS * steps)
        group = token // TOKENS
        back = group[:, None] - group[None, :]
        own = (back == 0) & (token[:, None] >= token[None, :])
        past = (back > 0) & (back < band)
        seen = own[None] | (past[None] & (live.repeat_interleave(TOKENS, 1)[:, None, :] > 0))
        return torch.where(seen, 0.0, HIDDEN)[:, None]

    def layer(self, index: int, x: torch.Tensor, live: torch.Tensor) -> torch.Tensor:
        """[B, N, d] to [B, N, d]."""
        name, band, heads = f"layer.{index}", self.spec["bands"][index], self.spec["heads"]
        b, n, d = x.shape
        h = self.dense(f"{name}.qkv", self.norm(f"{name}.norm1", x))
        q, k, v = (part.view(b, n, heads, d // heads).transpose(1, 2) for part in h.split(d, -1))  # [B, H, N, d/H]
        token = torch.arange(n)
        distance = (token[:, None] - token[None, :]).clamp(0, TOKENS * band - 1)
        bias = self.weight(f"{name}.relative")[:, distance][None] + self.mask(band, live)  # [B, H, N, N]
        share = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(d // heads) + bias, -1)
        x = x + self.dense(f"{name}.out", (share @ v).transpose(1, 2).reshape(b, n, d))
        h = F.gelu(self.dense(f"{name}.up", self.norm(f"{name}.norm2", x)))
        return x + self.dense(f"{name}.down", h)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x = self.tokens(batch)
        for index in range(len(self.spec["bands"])):
            x = self.layer(index, x, batch["live"])
        x = self.norm("norm", x[:, TOKENS - 1 :: TOKENS])  # [B, T, d]
        return {
            "action": self.dense("head.action", x),
            "size": torch.sigmoid(self.dense("head.size", x))[..., 0],
            "risk": torch.sigmoid(self.dense("head.risk", x))[..., 0],
            "value": self.dense("head.value", x),
        }


def share(weight: torch.Tensor) -> torch.Tensor:
    """Weights as shares of their sum; zero where nothing has weight."""
    total = weight.sum()
    return weight / total if total > 0 else torch.zeros_like(weight)


def losses(answer: dict[str, torch.Tensor], batch: dict[str, torch.Tensor], network: Network, terms: dict):
    """The total and each head's loss, weighted means over what may be learned."""
    chosen = F.cross_entropy(answer["action"].flatten(0, 1), batch["action"].long().flatten(), reduction="none")
    learned = share(batch["weight"])
    parts = {
        "action": (chosen * learned.flatten()).sum(),
        "position": ((answer["size"] - batch["position"]) ** 2 * share(batch["position_weight"])).sum(),
        "risk": ((answer["risk"] - batch["risk"]) ** 2 * learned).sum(),
        "value": ((answer["value"] - batch["value"] / network.return_scale) ** 2 * share(batch["value_weight"])).sum(),
    }
    return sum(terms["losses"][name] * part for name, part in parts.items()), parts


def optimizer(network: Network, terms: dict) -> torch.optim.AdamW:
    """PyTorch's AdamW; only matrices decay."""
    matrices = [value for name, value in network.named_weights() if name.endswith(".weight")]
    others = [value for name, value in network.named_weights() if not name.endswith(".weight")]
    groups = [
        {"params": matrices, "weight_decay": terms["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=terms["learning_rate"], betas=tuple(terms["betas"]), eps=1e-8)


def rate(terms: dict, step: int) -> float:
    """The learning rate of a step, counted from 0: a straight rise, then half a cosine down to the floor."""
    highest, warm_up, floor = terms["learning_rate"], terms["warm_up"], terms["floor"]
    if step < warm_up:
        return highest * (step + 1) / warm_up
    gone = min((step - warm_up) / max(terms["steps"] - warm_up, 1), 1.0)
    return highest * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * gone)))


def train_step(network: Network, adamw: torch.optim.AdamW, batch: dict[str, torch.Tensor], terms: dict, step: int):
    """One step of training: the total loss before it, each head's, and the gradient's norm before clipping."""
    for group in adamw.param_groups:
        group["lr"] = rate(terms, step)
    total, parts = losses(network(batch), batch, network, terms)
    adamw.zero_grad(set_to_none=True)
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), terms["clip"])
    adamw.step()
    return total.detach(), parts, norm
