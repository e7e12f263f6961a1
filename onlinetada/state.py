"""The state of streams as data: named tensors with one row a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from onlinetada.errors import InputError

Rows = Sequence[int] | Tensor | int | None
Device = torch.device | str | None


@dataclass(eq=False)
class StreamState:
    """What a module remembers of B streams: every buffer is (B, ...), row b belongs to stream b.

    A row of zeros is a stream that has not begun, so any row can start over at any time. Writing
    (``step``, ``reset``, ``freeze``, ``load_state_dict``) happens in place, which a captured CUDA graph needs;
    ``clone``, ``select``, ``append`` and ``to`` make new states. States are kept outside ``nn.Module.state_dict``.

    Attributes:
        buffers: name -> (B, ...). The names are those of the modules that own them.
        frozen: (B,) bool. A frozen row is left as it is by every step, as if its frame had not come.
    """

    buffers: dict[str, Tensor]
    frozen: Tensor = field(repr=False)

    @classmethod
    def of(cls, buffers: Mapping[str, Tensor], batch_size: int, device: Device = None) -> StreamState:
        """A state over ``buffers`` in which no row is frozen."""
        return cls(dict(buffers), torch.zeros(batch_size, dtype=torch.bool, device=device))

    @property
    def batch_size(self) -> int:
        """Number of streams."""
        return self.frozen.shape[0]  # not int(): that would fix it in a traced graph

    @property
    def device(self) -> torch.device:
        """Where the buffers are."""
        return self.frozen.device

    @property
    def nbytes(self) -> int:
        """Memory of all rows together."""
        return sum(b.numel() * b.element_size() for b in self.buffers.values()) + self.frozen.numel()

    def __getitem__(self, name: str) -> Tensor:
        return self.buffers[name]

    def reset(self, rows: Rows = None) -> StreamState:
        """Begin the given streams anew (all of them without ``rows``), and thaw them. In place.

        Args:
            rows: indices, or a boolean mask (B,).
        """
        mask = self._mask(rows)
        for buffer in self.buffers.values():
            buffer.masked_fill_(_as_rows(mask, buffer), 0)
        self.frozen.masked_fill_(mask, False)
        return self

    def freeze(self, rows: Rows = None) -> StreamState:
        """From now on let every step skip exactly these rows; ``freeze([])`` thaws all. In place.

        A frozen row still gets an output, computed from the state it keeps.
        """
        self.frozen.copy_(self._mask(rows))
        return self

    def unfreeze(self, rows: Rows = None) -> StreamState:
        """Let the given rows (all without ``rows``) advance again. In place."""
        self.frozen.masked_fill_(self._mask(rows), False)
        return self

    def commit(self, new: Mapping[str, Tensor]) -> None:
        """Write what a step made, except into frozen rows. In place."""
        for name, value in new.items():
            old = self.buffers[name]
            old.copy_(torch.where(_as_rows(self.frozen, old), old, value))

    def clone(self) -> StreamState:
        """An independent copy."""
        return StreamState({n: b.clone() for n, b in self.buffers.items()}, self.frozen.clone())

    def select(self, rows: Rows) -> StreamState:
        """A new state of the given rows, in the given order (a mask: in the order of the rows)."""
        index = self._index(rows)
        return StreamState({n: b.index_select(0, index) for n, b in self.buffers.items()}, self.frozen[index])

    def append(self, other: StreamState) -> StreamState:
        """A new state with the rows of ``other`` after those of this one."""
        if self.buffers.keys() != other.buffers.keys():
            odd = sorted(self.buffers.keys() ^ other.buffers.keys())
            raise InputError(f"cannot append the state of another module: only one of them has {odd[0]!r}")
        for name, buffer in self.buffers.items():
            _same_row(name, buffer, other.buffers[name])
        joined = {n: torch.cat([b, other.buffers[n]]) for n, b in self.buffers.items()}
        return StreamState(joined, torch.cat([self.frozen, other.frozen]))

    def to(self, device: torch.device | str) -> StreamState:
        """A copy on another device."""
        moved = {n: b.to(device, copy=True) for n, b in self.buffers.items()}
        return StreamState(moved, self.frozen.to(device, copy=True))

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all tensors by name, to be saved with ``torch.save`` or safetensors."""
        return {**{n: b.clone() for n, b in self.buffers.items()}, "frozen": self.frozen.clone()}

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> StreamState:
        """Take over what ``state_dict`` gave, for the same number of streams. In place."""
        own: dict[str, Tensor] = {**self.buffers, "frozen": self.frozen}
        if own.keys() != saved.keys():
            odd = sorted(own.keys() ^ saved.keys())
            raise InputError(f"the saved state is of another module: {odd[0]!r} is on one side only")
        for name, buffer in own.items():
            if buffer.shape != saved[name].shape:
                raise InputError(
                    f"saved {name!r} has shape {tuple(saved[name].shape)}, this state has {tuple(buffer.shape)}"
                )
        for name, buffer in own.items():
            buffer.copy_(saved[name])
        return self

    def _mask(self, rows: Rows) -> Tensor:
        if rows is None:
            return torch.ones_like(self.frozen)
        if isinstance(rows, Tensor) and rows.dtype == torch.bool:
            if rows.shape != self.frozen.shape:
                raise InputError(f"the row mask has shape {tuple(rows.shape)}, the state has {self.batch_size} rows")
            return rows.to(self.device)
        mask = torch.zeros_like(self.frozen)
        mask[self._index(rows)] = True
        return mask

    def _index(self, rows: Rows) -> Tensor:
        if rows is None:
            return torch.arange(self.batch_size, device=self.device)
        index = torch.as_tensor(rows, device=self.device)
        if index.dtype == torch.bool:
            return self._mask(index).nonzero()[:, 0]
        index = index.reshape(-1).long()
        for row in index.tolist():
            if not -self.batch_size <= row < self.batch_size:
                raise InputError(f"row {row} does not exist: the state has {self.batch_size} rows")
        return index % max(self.batch_size, 1)


def _as_rows(mask: Tensor, buffer: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (buffer.dim() - 1))


def _same_row(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype or a.device != b.device:
        raise InputError(
            f"rows of {name!r} differ: {tuple(a.shape[1:])} {a.dtype} on {a.device} "
            f"against {tuple(b.shape[1:])} {b.dtype} on {b.device}"
        )
