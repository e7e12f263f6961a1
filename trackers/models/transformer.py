"""The temporal transformer of TCTrack (arXiv 2203.01885): similarity maps refined by a memory of earlier ones.

Tokens are (B, L, C), L = side ** 2 cells of a map row by row, without positional encoding. Tensor names are of the
published checkpoints; parameters that those hold and never use are kept, frozen, so that files load and save whole.
"""

from __future__ import annotations

from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_tokens(maps: Tensor) -> Tensor:
    """(B, C, S, S) to (B, S * S, C)."""
    return maps.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor) -> Tensor:
    """(B, S * S, C) to (B, C, S, S)."""
    batch_size, length, channels = tokens.shape
    side = isqrt(length)
    return tokens.transpose(1, 2).reshape(batch_size, channels, side, side)


def reread_as_map(tokens: Tensor) -> Tensor:
    """(B, S * S, C) to (B, C, S, S) without the transpose: each sample's numbers in the order they lie in memory.

    The published networks were trained with this in front of their modulation.
    """
    batch_size, length, channels = tokens.shape
    side = isqrt(length)
    return tokens.reshape(batch_size, channels, side, side)


def reread_as_memory(tokens: Tensor) -> Tensor:
    """(B, L, C) tokens whose numbers are taken for a (C, L) map's, as the published inference does with its memory."""
    batch_size, length, channels = tokens.shape
    return tokens.reshape(batch_size, channels, length).transpose(1, 2)


class Modulation(nn.Module):
    """x + gamma * (mix(x, y) * w) * x with channel weights w from y: what the similarity of now says of its own past.

    Args:
        channels: C of the maps.
        reduced: channels inside the weighting.
        dropout: probability, in training.
    """

    def __init__(self, channels: int, reduced: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        # a transposed 1x1 convolution is a linear map whose weight lies (in, out)
        self.conv1 = nn.Sequential(nn.ConvTranspose2d(2 * channels, channels, 1))
        conv = nn.Conv2d(channels, channels, 3, stride=3)
        self.conv2 = nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.linear1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.linear2 = nn.Conv2d(reduced, channels, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Both (B, C, S, S)."""
        pooled = F.adaptive_avg_pool2d(self.conv2(y), 1)
        weights = self.linear2(self.dropout(F.relu(self.linear1(pooled))))
        out: Tensor = x + self.gamma * (self.conv1(torch.cat([x, y], 1)) * weights) * x
        return out


def _attention(channels: int, heads: int, dropout: float) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)


def _attend(module: nn.MultiheadAttention, query: Tensor, key_value: Tensor) -> Tensor:
    out: Tensor = module(query, key_value, key_value, need_weights=False)[0]
    return out


class EncoderLayer(nn.Module):
    """Similarity of now, looked up by the memory of before, becomes the new memory.

    Args:
        channels: C of the tokens.
        heads: attention heads.
        dropout: probability, in training.
        reread: take the tokens for maps as the published networks do (``reread_as_map``).
    """

    def __init__(self, channels: int, heads: int, dropout: float, *, reread: bool) -> None:
        super().__init__()
        self.reread = reread
        self.self_attn1 = _attention(channels, heads, dropout)
        self.self_attn2 = _attention(channels, heads, dropout)
        self.self_attn3 = _attention(channels, heads, dropout)
        self.modulation = Modulation(channels, dropout=dropout)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.cross_attn = _attention(channels, heads, dropout).requires_grad_(False)  # unused, in published files
        self.norm0 = nn.LayerNorm(channels).requires_grad_(False)  # unused, in published files

    def forward(self, similarity: Tensor, memory: Tensor) -> Tensor:
        """Both (B, L, C)."""
        as_map = reread_as_map if self.reread else to_map
        s1 = self.norm1(similarity + self.dropout(_attend(self.self_attn1, memory, similarity)))
        s2 = self.norm2(s1 + self.dropout(_attend(self.self_attn2, s1, s1)))
        u = to_tokens(self.modulation(as_map(s2), as_map(s1)))
        out: Tensor = self.norm3(u + self.dropout(_attend(self.self_attn3, u, u)))
        return out


class DecoderLayer(nn.Module):
    """Refines the similarity of now with the memory.

    Args:
        channels: C of the tokens.
        heads: attention heads.
        hidden: channels of the feed-forward part.
        dropout: probability, in training.
    """

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = _attention(channels, heads, dropout)
        self.multihead_attn1 = _attention(channels, heads, dropout)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.multihead_attn2 = _attention(channels, heads, dropout).requires_grad_(False)  # unused, in published files
        self.norm3 = nn.LayerNorm(channels).requires_grad_(False)  # unused, in published files

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Both (B, L, C)."""
        tokens = self.norm1(tokens + self.dropout(_attend(self.self_attn, tokens, tokens)))
        tokens = self.norm2(tokens + self.dropout(_attend(self.multihead_attn1, tokens, memory)))
        forward = self.linear2(self.dropout(F.relu(self.linear1(tokens))))
        out: Tensor = self.norm4(tokens + self.dropout(forward))
        return out


class _Stack(nn.Module):
    """Layers and the norm after them, under the names of the published checkpoints."""

    def __init__(self, layers: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, memory)
        out: Tensor = self.norm(tokens)
        return out


class TemporalTransformer(nn.Module):
    """One encoder layer that carries the memory on, two decoder layers that use it.

    Args:
        channels: C of the tokens.
        heads: attention heads.
        hidden: channels of the feed-forward parts.
        dropout: probability, in training.
        reread: the modulation reads tokens as the published networks do.
    """

    def __init__(
        self, channels: int = 192, heads: int = 6, hidden: int = 384, dropout: float = 0.1, *, reread: bool = False
    ) -> None:
        super().__init__()
        self.encoder = _Stack([EncoderLayer(channels, heads, dropout, reread=reread)], channels)
        self.decoder = _Stack([DecoderLayer(channels, heads, hidden, dropout) for _ in range(2)], channels)

    def forward(self, similarity: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Refined similarity and the new memory; all (B, L, C)."""
        memory = self.encoder(similarity, memory)
        return self.decoder(similarity, memory), memory
