"""Five architectures that users have, as they have them: batches from a loader, ragged, padded, with masks and closures.

Beside each stands what one sample's loss is, written for that sample alone, without padding, mask and batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

N, BATCH = 11, 4  # the last batch is of three


@dataclass(frozen=True)
class Architecture:
    """A network, its data, and the loss of one sample."""

    model: nn.Module
    loss: Callable[[Any, Any], Tensor] | None
    loader: Iterable[Any]
    samples: list[tuple[Tensor, Tensor]]
    alone: Callable[[nn.Module, Tensor, Tensor], Tensor]
    options: dict[str, Any] = field(default_factory=dict)

    def parameters(self) -> list[nn.Parameter]:
        """Those that count."""
        patterns = self.options.get("parameters", ("*",))
        return [p for name, p in self.model.named_parameters() if any(fnmatchcase(name, pattern) for pattern in patterns)]


def ragged(vocabulary: int, longest: int) -> list[Tensor]:
    """Sequences of tokens, of which none is 0."""
    return [torch.randint(1, vocabulary, (int(length),)) for length in torch.randint(3, longest + 1, (N,))]


def padded(sequences: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences of one batch, and where they are."""
    tokens = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    lengths = torch.tensor([len(s) for s in sequences])
    return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]


class Transformer(nn.Module):
    """One block of causal attention; the matrix of the embedding is the output layer too."""

    def __init__(self, vocabulary: int, longest: int, width: int, heads: int):
        super().__init__()
        self.embedding, self.places = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
        self.queries_keys_values, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.out = nn.Linear(width, vocabulary, bias=False)
        self.out.weight, self.heads = self.embedding.weight, heads

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        x = self.embedding(tokens) + self.places.weight[: tokens.shape[1]]
        split = self.queries_keys_values(self.first(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*split, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).flatten(2))
        x = x + self.outer(functional.gelu(self.inner(self.second(x))))
        return {"logits": self.out(x) * attention_mask[:, :, None]}


def transformer() -> Architecture:
    samples = [(s[:-1], s[1:]) for s in ragged(9, 6)]

    def collate(some):
        (tokens, mask), (labels, _) = (padded([s[i] for s in some]) for i in (0, 1))
        return {"tokens": tokens, "attention_mask": mask, "labels": labels}

    def loss(logits, labels):
        return functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")

    def alone(model, tokens, labels):
        return functional.cross_entropy(model(tokens[None], torch.ones(1, 1))["logits"][0], labels)

    loader = DataLoader(cast(Any, samples), BATCH, collate_fn=collate)
    options = {"sample_dim": 0, "token_reduction": "mean", "mask": "attention_mask"}
    return Architecture(Transformer(9, 5, width=4, heads=2), loss, loader, samples, alone, options)


class Recurrent(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.lstm, self.out = nn.LSTM(inputs, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def lstm() -> Architecture:
    inputs, targets = torch.randn(N, 6, 3).double(), torch.randn(N, 2).double()

    def closure(model, batch):
        x, y = batch
        return (model(x) - y).square().sum(dim=1)

    def alone(model, x, y):
        return ((model(x[None])[0] - y) ** 2).sum()

    samples = list(zip(inputs, targets, strict=True))
    loader = DataLoader(TensorDataset(inputs, targets), BATCH)
    return Architecture(Recurrent(3, 4, 2), None, loader, samples, alone, {"closure": closure})


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        convolution = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
        self.inner = nn.Sequential(
            convolution(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU(),
            convolution(outputs, outputs), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        self.skip = nn.Identity() if inputs == outputs and stride == 1 else shortcut

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.inner(x) + self.skip(x))


def resnet() -> Architecture:
    """ResNet-8: a convolution, three blocks of two, and a linear layer, after a few steps of training."""
    inputs, targets = torch.randn(N, 1, 8, 8).double(), torch.arange(N) % 3
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(),
        Block(2, 2, 1), Block(2, 2, 2), Block(2, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3),
    ).double()  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    samples = list(zip(inputs, targets, strict=True))
    loader = DataLoader(TensorDataset(inputs, targets), BATCH)

    def alone(model, x, y):
        return functional.cross_entropy(model(x[None])[0], y)

    return Architecture(model.eval(), nn.CrossEntropyLoss(reduction="none"), loader, samples, alone)


class Tokens(nn.Module):
    """A bag of tokens beside a convolution over them, whose mean is over those that count; it sees the padding at its edge."""

    def __init__(self, vocabulary: int, width: int, classes: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.bag = nn.EmbeddingBag(vocabulary, width, mode="mean", padding_idx=0)
        self.convolution, self.out = nn.Conv1d(width, width, 3, padding=1), nn.Linear(2 * width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        counts = (tokens != 0)[:, :, None]
        seen = torch.tanh(self.convolution(self.embedding(tokens).transpose(1, 2))).transpose(1, 2)
        mean = (seen * counts).sum(dim=1) / counts.sum(dim=1)
        return self.out(torch.cat([mean, torch.tanh(self.bag(tokens))], dim=1))


def tokens() -> Architecture:
    samples = list(zip(ragged(9, 7), torch.arange(N) % 3, strict=True))

    def collate(some):
        return padded([s for s, _ in some])[0], torch.stack([y for _, y in some])

    def alone(model, x, y):
        seen = torch.tanh(model.convolution(model.embedding(x).T)).T
        bag = model.bag.weight[x[x != 0]].mean(dim=0)  # torch's own bag has no second derivative
        return functional.cross_entropy(model.out(torch.cat([seen[x != 0].mean(dim=0), torch.tanh(bag)])), y)

    loader = DataLoader(cast(Any, samples), BATCH, collate_fn=collate)
    return Architecture(Tokens(9, 4, 3), nn.CrossEntropyLoss(reduction="none"), loader, samples, alone)


SENTENCES = (
    "ผม|ชอบ|กิน|ข้าว", "แมว|นอน|อยู่|บน|เก้าอี้", "วันนี้|อากาศ|ดี|มาก", "ฉัน|ไป|โรงเรียน", "เขา|อ่าน|หนังสือ|ที่|บ้าน", "เด็ก|กำลัง|เล่น|ฟุตบอล",
    "เรา|จะ|ไป|เที่ยว|ทะเล|พรุ่งนี้", "แม่|ซื้อ|ผลไม้|ที่|ตลาด", "รถไฟ|มา|ช้า", "ครู|สอน|ภาษา|ไทย", "ฝน|ตก|หนัก|ใน|กรุงเทพ",
)  # fmt: skip


class Segmenter(nn.Module):
    """The character network of attacut 1.0.6, a segmenter of Thai words: whether a word begins at a character."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(139, 48, padding_idx=0)
        for i, (size, dilation) in enumerate(((3, 1), (5, 3), (9, 2)), start=1):
            convolution = nn.Conv1d(48, 196, size, dilation=dilation, padding=size // 2 * dilation)
            self.add_module(f"conv{i}", nn.ModuleDict({"conv": convolution}))
        self.linear1, self.linear2 = nn.Linear(196, 32), nn.Linear(32, 1)

    def forward(self, characters: Tensor) -> Tensor:
        x = self.embeddings(characters).transpose(1, 2)
        seen = torch.stack([self.get_submodule(f"conv{i}.conv")(x) for i in (1, 2, 3)])
        return self.linear2(functional.relu(self.linear1(seen.amax(dim=0).transpose(1, 2))))[:, :, 0]


def segmenter() -> Architecture:
    try:
        package = distribution("attacut")
    except PackageNotFoundError:
        pytest.skip("needs attacut, whose own dependencies it does not: pip install --no-deps attacut==1.0.6")
    folder = "attacut/artifacts/attacut-c"
    numbers = json.loads(str(package.read_text(f"../{folder}/characters.json")))
    model = Segmenter()
    model.load_state_dict(torch.load(str(package.locate_file(f"{folder}/model.pth")), weights_only=True, map_location="cpu"))
    samples = []
    for words in (sentence.split("|") for sentence in SENTENCES):
        starts = [1.0 * (i == 0) for word in words for i in range(len(word))]
        samples.append((torch.tensor([numbers[c] for c in "".join(words)]), torch.tensor(starts).double()))

    def collate(some):
        characters, _ = padded([s[0] for s in some])
        return characters, padded([s[1] for s in some])[0]

    def alone(model, characters, starts):
        return functional.binary_cross_entropy_with_logits(model(characters[None])[0], starts)

    loader = DataLoader(cast(Any, samples), BATCH, collate_fn=collate)
    options = {"sample_dim": 0, "token_reduction": "mean", "mask": lambda batch: batch[0] != 0}
    return Architecture(model, nn.BCEWithLogitsLoss(reduction="none"), loader, samples, alone, options)


BUILDERS = {"transformer": transformer, "LSTM": lstm, "ResNet": resnet, "padded tokens": tokens, "segmenter": segmenter}


@cache
def architecture(name: str) -> Architecture:
    """Return one of them in double precision."""
    torch.manual_seed(3)
    built = BUILDERS[name]()
    built.model.double()
    return built
