"""One forward for clips and for live frames: modules with temporal state, and how whole models are run with them.

Three ways to run the same weights, with the same numbers:

    y = layer(clip)                                    # (B, C, T, H, W), training
    y, state = layer.step(frame, state)                # (B, C, H, W), explicit state
    with streaming(model, batch_size=2) as state:      # a whole model that knows nothing of it
        y = model(frame)

An image network gets clips with their frames folded into the batch: ``with clips(model, num_frames=8): model(frames)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from onlinetada.errors import InputError
from onlinetada.state import StreamState

FrameShape = tuple[int, int, int] | None


@dataclass
class _Session:
    """The run of a model that its temporal modules take part in. Either a clip length or a state is set."""

    num_frames: int = 1
    state: StreamState | None = None
    commit: bool = True
    in_place: bool = True
    made: dict[str, Tensor] = field(default_factory=dict)
    called: set[str] | None = None


class TemporalModule(nn.Module):
    """Base of every module that looks at more than one frame.

    Subclasses define `advance`; those that run live also set ``causal`` and define `init_buffers`. Everything else,
    the clip, the step, the run inside a model, is one path through `advance`.
    """

    causal: bool = False
    phases: int = 1
    """After temporal strides of product s, a stream is s sequences of every s-th frame, which take turns."""
    _session: _Session | None = None
    _prefix: str = ""

    def init_buffers(self, batch_size: int, *, frame_shape: FrameShape = None, **factory: Any) -> dict[str, Tensor]:
        """Zeroed buffers (B, ...) of streams that have not begun; {} where they need an unknown frame shape."""
        return {}

    def advance(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Output for the next T frames x (B, C, T, H, W) of B streams, and the buffers after them. Writes nothing."""
        raise TypeError(f"{type(self).__name__} must define advance")

    def forward(self, x: Tensor) -> Tensor:
        """A clip (B, C, T, H, W); or frames (N, C, H, W), each on its own unless a context says how they follow.

        Returns:
            The same rank as the input.
        """
        session = self._session
        if session is not None and session.state is not None:
            return self._in_stream(x, session, prefix=self._prefix)
        y = self.clip(fold_frames(x, 1 if session is None else session.num_frames))
        return y if x.dim() == 5 else unfold_frames(y)

    def clip(self, x: Tensor) -> Tensor:
        """Whole clips (B, C, T, H, W). With a temporal stride s, outputs are of frames s - 1, 2s - 1, ... alone."""
        y, _ = self.advance(x, self._fresh(x))
        return y

    def init_state(
        self,
        batch_size: int = 1,
        *,
        frame_shape: FrameShape = None,
        device: Any = None,
        dtype: Any = None,
    ) -> StreamState:
        """State of B streams that have not begun.

        Args:
            batch_size: B.
            frame_shape: (C, H, W) of the input; modules that keep whole frames otherwise make their buffers on the
                first frame.
            device, dtype: by default those of the module's parameters.
        """
        return init_state(self, batch_size, frame_shape=frame_shape, device=device, dtype=dtype)

    def step(self, frame: Tensor, state: StreamState, *, commit: bool = True) -> tuple[Tensor, StreamState]:
        """The next frame of B streams.

        Args:
            frame: (B, C, H, W)
            state: what `init_state` or the last step gave; written in place.
            commit: false leaves the state as it is (a peek).

        Returns:
            (B, C', H', W') and the same state object.
        """
        if frame.dim() != 4:
            raise InputError(f"step takes one frame a stream, (B, C, H, W); this has shape {tuple(frame.shape)}")
        session = _Session(state=state, commit=commit)
        return self._in_stream(frame, session, prefix=""), state

    def stream_buffers(self, batch_size: int, *, frame_shape: FrameShape = None, **factory: Any) -> dict[str, Tensor]:
        """Zeroed buffers of whole streams: those of `init_buffers`, one set a phase, and whose turn it is."""
        own = self.init_buffers(batch_size * self.phases, frame_shape=frame_shape, **factory)
        if self.phases == 1 or not own:
            return own
        turn = torch.zeros(batch_size, dtype=torch.int64, device=factory.get("device"))
        return {**{n: b.unflatten(0, (batch_size, self.phases)) for n, b in own.items()}, "turn": turn}

    def advance_stream(self, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """`advance` for a stream: every frame goes to the phase whose turn it is."""
        if "turn" not in buffers:
            return self.advance(x, buffers)
        rows, turn = torch.arange(x.shape[0], device=x.device), buffers["turn"]
        held = {n: b for n, b in buffers.items() if n != "turn"}
        outputs: list[Tensor] = []
        for i in range(min(self.phases, x.shape[2])):
            phase = (turn + i) % self.phases
            y, new = self.advance(x[:, :, i :: self.phases], {n: b[rows, phase] for n, b in held.items()})
            held = {n: b.index_put((rows, phase), new[n].to(b.dtype)) for n, b in held.items()}
            outputs.append(y)
        turn = (turn + x.shape[2]) % self.phases
        return _interleave(outputs, x.shape[2]), {**held, "turn": turn}

    def _fresh(self, x: Tensor, *, stream: bool = False) -> dict[str, Tensor]:
        like = next(self.parameters(), x)
        shape = (x.shape[1], x.shape[3], x.shape[4])
        make = self.stream_buffers if stream else self.init_buffers
        return make(x.shape[0], frame_shape=shape, device=x.device, dtype=like.dtype)

    def _in_stream(self, x: Tensor, session: _Session, *, prefix: str) -> Tensor:
        if not self.causal:
            raise InputError(_not_causal(prefix, self))
        if session.called is not None:
            if prefix in session.called:
                raise InputError(
                    f"{prefix or type(self).__name__} is used twice in one frame: a shared layer would mix its "
                    "uses into one stream; give each use its own layer"
                )
            session.called.add(prefix)
        clip = x.unsqueeze(2) if x.dim() == 4 else x
        dot = f"{prefix}." if prefix else ""
        y, new = self.advance_stream(clip, self._read(clip, session, dot))
        self._write(new, session, dot)
        return y if x.dim() == 5 else y.squeeze(2)

    def _read(self, x: Tensor, session: _Session, dot: str) -> dict[str, Tensor]:
        state = session.state
        assert state is not None  # noqa: S101 - for the type checker; the caller looked
        if x.shape[0] != state.batch_size:
            raise InputError(f"the frame has {x.shape[0]} streams, the state has {state.batch_size}")
        if x.device != state.device:
            raise InputError(f"the frame is on {x.device}, the state on {state.device}: use state.to(device)")
        buffers = {}
        for name, fresh in self._fresh(x, stream=True).items():
            held = state.buffers.get(dot + name)
            if held is None and name in self.stream_buffers(1):
                raise InputError(f"the state has no {dot + name!r}: it is of another module, begin a new one")
            if held is None:  # depends on the frame size, so it is made by the first frame
                held = state.buffers[dot + name] = fresh
            if held.shape != fresh.shape:
                raise InputError(
                    f"state {dot + name!r} has shape {tuple(held.shape)}, this input needs {tuple(fresh.shape)}: "
                    "begin a new state for another module or frame size"
                )
            buffers[name] = held
        return buffers

    def _write(self, new: Mapping[str, Tensor], session: _Session, dot: str) -> None:
        named = {dot + name: value for name, value in new.items()}
        if session.in_place and session.commit and session.state is not None:
            session.state.commit(named)
        else:
            session.made.update(named)


def temporal_modules(model: nn.Module) -> dict[str, TemporalModule]:
    """The temporal modules of a model by name; not those inside another one, which owns their state."""
    found: dict[str, TemporalModule] = {}
    while isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module  # wrapped or not, the names, and so the states, are the same
    for name, module in model.named_modules():
        name = name.replace("_orig_mod.", "").removeprefix("_orig_mod")  # of torch.compile
        if isinstance(module, TemporalModule) and not any(name.startswith(f"{n}." if n else "") for n in found):
            found[name] = module
    return found


def init_state(
    model: nn.Module,
    batch_size: int = 1,
    *,
    frame_shape: FrameShape = None,
    device: Any = None,
    dtype: Any = None,
) -> StreamState:
    """State of B streams of a whole model, or of one layer.

    Args:
        model: any module; its temporal modules must be causal.
        batch_size: B.
        frame_shape: (C, H, W) of the input, for a single layer that keeps whole frames; else the first frame tells.
        device, dtype: by default those of the first parameter.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, it is {batch_size}")
    like = next(model.parameters(), torch.empty(0))
    factory: dict[str, Any] = {"device": device or like.device, "dtype": dtype or like.dtype}
    buffers: dict[str, Tensor] = {}
    for name, module in _causal_modules(model).items():
        own = module.stream_buffers(batch_size, frame_shape=frame_shape, **factory)
        buffers.update({f"{name}.{n}" if name else n: b for n, b in own.items()})
    return StreamState.of(buffers, batch_size, factory["device"])


def step(model: nn.Module, frame: Any, state: StreamState, *, commit: bool = True) -> tuple[Any, StreamState]:
    """One frame of B streams through a whole model's ordinary forward.

    Args:
        model: any module whose temporal modules are causal.
        frame: what the model's forward takes, with one frame a stream.
        state: of `init_state`; written in place.
        commit: false leaves the state as it is (a peek).

    Returns:
        The model's output and the same state object.
    """
    with _bound(model, _Session(state=state, commit=commit)):
        return model(frame), state


def advance(model: nn.Module, frame: Any, state: StreamState) -> tuple[Any, dict[str, Tensor]]:
    """Like `step`, but gives the new buffers back instead of writing them: a pure function, for export."""
    session = _Session(state=state, in_place=False)
    with _bound(model, session):
        return model(frame), {name: session.made[name] for name in state.buffers}


@contextmanager
def streaming(
    model: nn.Module, batch_size: int = 1, *, state: StreamState | None = None, device: Any = None, dtype: Any = None
) -> Iterator[StreamState]:
    """Inside, the model's ordinary forward takes one frame a stream: (B, C, H, W), or (B, C, T, H, W) for T at once.

    Args:
        model: any module whose temporal modules are causal.
        batch_size: B.
        state: go on with this state instead of beginning anew.
        device, dtype: of a new state; by default those of the first parameter.

    Yields:
        The state: rows can be reset, frozen, saved and restored while the model runs.
    """
    if not temporal_modules(model):
        raise InputError("the model has no temporal module, so there is nothing to stream: see onlinetada.convert")
    held = init_state(model, batch_size, device=device, dtype=dtype) if state is None else state
    with _bound(model, _Session(state=held)):
        yield held


@contextmanager
def clips(model: nn.Module, num_frames: int) -> Iterator[None]:
    """Inside, an image network's batch (B * T, C, H, W) is B clips of T frames, those of a clip in a row."""
    if num_frames < 1:
        raise InputError(f"num_frames must be at least 1, it is {num_frames}")
    with _bound(model, _Session(num_frames=num_frames)):
        yield


@contextmanager
def _bound(model: nn.Module, session: _Session) -> Iterator[None]:
    """Let the model's temporal modules take part in a session; what they took part in before is restored."""
    modules = _causal_modules(model) if session.state is not None else temporal_modules(model)
    before = [(m, m._session, m._prefix) for m in modules.values()]
    hooks = [] if isinstance(model, TemporalModule) else _frame_hooks(model, session)
    try:
        for name, module in modules.items():
            module._session, module._prefix = session, name
        yield
    finally:
        for module, old_session, old_prefix in before:
            module._session, module._prefix = old_session, old_prefix
        for hook in hooks:
            hook.remove()


def _frame_hooks(model: nn.Module, session: _Session) -> list[Any]:
    """The root's forward is one frame: a module that it uses twice is noticed."""

    def begin(*_: Any) -> None:
        session.called = set()

    def end(*_: Any) -> None:
        session.called = None

    if session.state is None:
        return []
    return [model.register_forward_pre_hook(begin), model.register_forward_hook(end, always_call=True)]


def _causal_modules(model: nn.Module) -> dict[str, TemporalModule]:
    modules = temporal_modules(model)
    for name, module in modules.items():
        if not module.causal:
            raise InputError(_not_causal(name, module))
    return modules


def _interleave(parts: list[Tensor], num_frames: int) -> Tensor:
    """Frames i, i + s, ... of part i, back in order."""
    if len(parts) == 1 or num_frames == len(parts):
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    return torch.stack([parts[t % len(parts)][:, :, t // len(parts)] for t in range(num_frames)], 2)


def _not_causal(name: str, module: nn.Module) -> str:
    return (
        f"{name or 'the layer'} ({type(module).__name__}) looks at later frames and cannot run live: "
        "give it a causal calibration, such as 'online' or 'causal_route'"
    )


def fold_frames(x: Tensor, num_frames: int) -> Tensor:
    """(B * T, C, H, W) -> (B, C, T, H, W); five dimensions are left as they are."""
    if x.dim() == 5:
        return x
    if x.dim() != 4:
        raise InputError(f"a clip has shape (B, C, T, H, W), a batch of frames (N, C, H, W); this is {tuple(x.shape)}")
    if num_frames == 1:
        return x.unsqueeze(2)
    if x.shape[0] % num_frames:
        raise InputError(f"a batch of {x.shape[0]} frames does not hold clips of {num_frames} frames")
    return x.view(-1, num_frames, *x.shape[1:]).transpose(1, 2)


def unfold_frames(y: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B * T, C, H, W)."""
    return y.transpose(1, 2).flatten(0, 1)
