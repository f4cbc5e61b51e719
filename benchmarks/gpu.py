"""On a GPU: the choice against torch's own selections, and steps of edge-popup against dense ones, by the wall clock.

It has not been run on a GPU yet: none was at hand. `--tiny` only shows, on any device, that its pieces work.

.venv/bin/python benchmarks/gpu.py
.venv/bin/python benchmarks/gpu.py --device cpu --tiny
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import untrained as ut
from harness import Timing, interleave, report
from untrained.selection.straight_through import keep_top


class Block(nn.Module):
    """A pre-norm block of GPT-2: causal attention, and a hidden layer of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        x = x + self.merge(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Transformer(nn.Module):
    """GPT-2 in plain modules, its head not tied: (batch, sequence) of tokens → (batch, tokens, sequence) of logits."""

    def __init__(self, tokens: int, sequence: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(tokens, width), nn.Embedding(sequence, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.token(x) + self.place(torch.arange(x.shape[1], device=x.device))
        return self.head(self.norm(self.blocks(x))).transpose(1, 2)


def choices(n: int, rounds: int, device: str) -> list[Timing]:
    generator = torch.Generator(device).manual_seed(0)
    scores = torch.rand(n, generator=generator, device=device) * 2 - 1
    weights = torch.randint(0, 2, (n,), generator=generator, device=device) * 2.0 - 1
    mask, out = (scores > 0).float(), torch.empty_like(scores)

    def ours() -> list[Tensor]:
        return keep_top([weights], [scores], 0.5, False, ["w"])

    return interleave(
        {
            "torch.sort alone": lambda: torch.sort(scores),
            "torch.kthvalue alone": lambda: scores.kthvalue(n // 2),
            "torch.topk alone": lambda: torch.topk(scores, n // 2, sorted=False),
            "untrained: choice and multiply": ours,
            "floor: weights * mask, mask known": lambda: torch.mul(weights, mask, out=out),
        },
        reference="torch.topk alone",
        rounds=rounds,
        device=device,
    )


def step_of(model: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], None]:
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16):
            loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def steps(build: Callable[[], nn.Module], x: Tensor, y: Tensor, rounds: int, backend: str | None) -> list[Timing]:
    variants = {}
    for name in ("dense", "edge-popup"):
        model = build() if name == "dense" else ut.mask_(build(), ut.EdgePopup(keep=0.5))
        # After masking, whose weights are drawn anew.
        model = model.to(x.device, memory_format=torch.channels_last).train()
        variants[name] = step_of(model, torch.compile(model, backend=backend) if backend else model, x, y)
    timings = interleave(variants, reference="dense", rounds=rounds, device=x.device.type)
    torch.compiler.reset()
    return timings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    device, tiny = asked.device, asked.tiny
    torch.set_num_threads(1)

    sizes = (1000,) if tiny else (100_000, 1_000_000, 2_400_000, 10_000_000, 25_000_000)
    side, classes, width, images = (32, 10, 0.125, 2) if tiny else (224, 1000, 1.0, 256)
    tokens, sequence, hidden, heads, layers, texts = (50, 16, 32, 2, 2, 2) if tiny else (50257, 1024, 768, 12, 12, 8)
    shape = (3, side, side)
    x = torch.randn(images, *shape, device=device).to(memory_format=torch.channels_last)
    text = torch.randint(0, tokens, (texts, sequence + 1), device=device)
    networks = {
        f"ResNet-50, {side} pixels, batch {images}": (
            lambda: ut.models.resnet50(width, shape, classes),
            x,
            torch.randint(0, classes, (images,), device=device),
        ),
        f"GPT-2, {layers} layers of {hidden}, sequence {sequence}, batch {texts}": (
            lambda: Transformer(tokens, sequence, hidden, heads, layers),
            text[:, :-1],
            text[:, 1:],
        ),
    }
    rounds = 1 if tiny else 30
    tables = {f"choice of half of n = {n:,}": choices(n, rounds, device) for n in sizes}
    for title, network in networks.items():
        tables[f"{title}, bfloat16, eager"] = steps(*network, rounds, None)
        tables[f"{title}, bfloat16, compiled"] = steps(*network, rounds, "aot_eager" if tiny else "inductor")
    if tiny:
        print(*tables.items(), sep="\n")
    else:
        report("gpu", tables, device)
