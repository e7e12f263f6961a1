"""Clip and stream give the same numbers, whatever happens to the rows in between."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onlinetada import (
    InputError,
    OnlineConv3d,
    OnlineTAdaConv2d,
    OnlineTemporalAvgPool,
    TAdaConv2d,
    TemporalAggregation,
    clips,
    init_state,
    step,
    streaming,
)
from onlinetada.calibrations import AttentionCalibration, CausalRouteFunction, OnlineCalibration

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10, torch.bfloat16: 0.05}


def disturbed(module, seed=0, scale=0.2):
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        noise = torch.randn(p.shape, generator=generator)
        p.data.add_(noise.to(p.dtype) * scale / max(1.0, (p.numel() / max(p.shape[0], 1)) ** 0.5))
    return module.eval()


CAUSAL = st.one_of(
    st.builds(lambda w, b: partial(OnlineCalibration, window=w, calibrate_bias=b), st.integers(1, 5), st.booleans()),
    st.builds(
        lambda k, c, b: partial(CausalRouteFunction, kernels=k, context=c, context_window=3, calibrate_bias=b),
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        st.sampled_from(["running_mean", "exponential_mean", "window", "none"]),
        st.booleans(),
    ),
    st.just(partial(AttentionCalibration, grid=3)),
    st.just("learned"),
)


@st.composite
def layers(draw):
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16]))
    groups = draw(st.sampled_from([1, 2, 4]))
    layer = OnlineTAdaConv2d(
        4,
        groups * draw(st.integers(1, 2)),
        draw(st.sampled_from([1, 3])),
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, 1)),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect"])),
        cal_dim=draw(st.sampled_from(["cin", "cout", "kernel"])),
        calibration=draw(CAUSAL),
        dtype=dtype,
    )
    return disturbed(layer, draw(st.integers(0, 99))), dtype


@settings(max_examples=120, deadline=None)
@given(layers(), st.integers(1, 3), st.integers(1, 7), st.integers(0, 99))
def test_clip_equals_stream(layer_and_dtype, batch, frames, seed):
    layer, dtype = layer_and_dtype
    torch.manual_seed(seed)
    clip = torch.randn(batch, 4, frames, 6, 6).to(dtype)
    with torch.no_grad():
        state = layer.init_state(batch)
        stream = torch.stack([layer.step(f, state)[0] for f in clip.unbind(2)], 2)
        torch.testing.assert_close(layer(clip), stream, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


EVENTS = st.lists(st.tuples(st.sampled_from(["run", "run", "reset", "freeze"]), st.integers(0, 2)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(CAUSAL, EVENTS, st.integers(0, 99))
def test_interleaved_streams_equal_separate_ones(calibration, events, seed):
    """Three rows that begin, pause and start over at different times, against three streams on their own."""
    layer = disturbed(OnlineTAdaConv2d(4, 4, 3, calibration=calibration), seed)
    torch.manual_seed(seed)
    together, alone = layer.init_state(3), [layer.init_state(1) for _ in range(3)]
    with torch.no_grad():
        for event, row in [*events, ("run", 0)]:
            frame = torch.randn(3, 4, 5, 5)
            if event == "reset":
                together.reset([row])
                alone[row].reset()
            together.freeze([row] if event == "freeze" else [])
            y, _ = layer.step(frame, together)
            for b in range(3):
                commit = not (event == "freeze" and b == row)
                expected, _ = layer.step(frame[b : b + 1], alone[b], commit=commit)
                torch.testing.assert_close(y[b : b + 1], expected, atol=1e-5, rtol=1e-5)


def network(calibration="online"):
    """An image network that knows nothing of time, but for its calibrated layers."""
    return disturbed(
        nn.Sequential(
            OnlineTAdaConv2d(3, 8, 3, padding=1, calibration=calibration),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            OnlineTAdaConv2d(8, 8, 3, groups=8, calibration=calibration),
            TemporalAggregation(8, causal=True),
        )
    )


def test_a_whole_network_as_clip_stream_and_steps():
    net, clip = network(), torch.randn(2, 3, 6, 12, 12)
    with torch.no_grad():
        with clips(net, 6):
            folded = net(clip.transpose(1, 2).flatten(0, 1)).view(2, 6, 8, 10, 10).transpose(1, 2)
        with streaming(net, batch_size=2) as state:
            stream = torch.stack([net(f) for f in clip.unbind(2)], 2)
        state = init_state(net, 2)
        steps = torch.stack([step(net, f, state)[0] for f in clip.unbind(2)], 2)
    torch.testing.assert_close(folded, stream, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(folded, steps, atol=1e-5, rtol=1e-5)


def test_a_stream_may_be_fed_in_chunks():
    layer, clip = disturbed(OnlineTAdaConv2d(4, 4, 3)), torch.randn(2, 4, 7, 6, 6)
    with torch.no_grad(), streaming(layer, batch_size=2):
        parts = [layer(part) for part in clip.split([3, 1, 3], 2)]
    torch.testing.assert_close(torch.cat(parts, 2), layer(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("module", [OnlineTemporalAvgPool(3), OnlineConv3d(4, 6, (3, 3, 3), 2, 1)])
def test_modules_that_keep_frames(module):
    clip = torch.randn(2, 4, 5, 8, 8)
    with torch.no_grad():
        for state in (module.init_state(2), module.init_state(2, frame_shape=(4, 8, 8))):
            stream = torch.stack([module.step(f, state)[0] for f in clip.unbind(2)], 2)
            torch.testing.assert_close(module(clip), stream, atol=1e-5, rtol=1e-5)
            with pytest.raises(InputError, match="frame size"):
                module.step(clip[:, :, 0, :4], state)


def test_outside_a_context_frames_stand_alone():
    layer, frames = disturbed(OnlineTAdaConv2d(4, 4, 3)), torch.randn(3, 4, 6, 6)
    alone = torch.cat([layer(f[None]) for f in frames])
    torch.testing.assert_close(layer(frames), alone, atol=1e-6, rtol=1e-6)


def test_peeking_leaves_the_state():
    layer, frame = disturbed(OnlineTAdaConv2d(4, 4, 3)), torch.randn(2, 4, 6, 6)
    state = layer.init_state(2)
    before = state.state_dict()
    peeked, same = layer.step(frame, state, commit=False)
    assert same is state
    assert all(torch.equal(v, before[k]) for k, v in state.state_dict().items())
    committed, same = layer.step(frame, state)
    assert same is state
    torch.testing.assert_close(peeked, committed)
    assert (state["seen"] == 1).all()


def test_contexts_nest_and_leave_nothing_behind():
    net, frame = network(), torch.randn(1, 3, 12, 12)
    keys = list(net.state_dict())
    with streaming(net) as outer:
        net(frame)
        with streaming(net) as inner:
            net(frame)
            net(frame)
        net(frame)
    assert int(outer["0.seen"]) == 2 == int(inner["0.seen"])
    assert list(net.state_dict()) == keys
    with pytest.raises(RuntimeError, match="boom"), streaming(net):
        raise RuntimeError("boom")
    assert net[0]._session is None


def test_going_on_with_a_saved_state(tmp_path):
    net, clip = network(), torch.randn(1, 3, 6, 12, 12)
    with torch.no_grad(), streaming(net) as state:
        for f in clip.unbind(2)[:3]:
            net(f)
        torch.save(state.state_dict(), tmp_path / "state.pt")
        expected = [net(f) for f in clip.unbind(2)[3:]]
    fresh = init_state(net, 1)
    step(net, clip[:, :, 0], fresh)
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    with torch.no_grad(), streaming(net, state=fresh):
        got = [net(f) for f in clip.unbind(2)[3:]]
    torch.testing.assert_close(got, expected)


def test_memory_stays_constant_over_an_endless_stream():
    layer = disturbed(OnlineTAdaConv2d(4, 4, 1, calibration="causal_route"))
    state = layer.init_state(1)
    addresses = {n: b.data_ptr() for n, b in state.buffers.items()}
    with torch.inference_mode(False), torch.no_grad():
        for _ in range(2000):
            y, _ = layer.step(torch.randn(1, 4, 2, 2), state)
    assert {n: b.data_ptr() for n, b in state.buffers.items()} == addresses
    assert torch.isfinite(y).all()
    assert int(state["seen"]) == 2000


def test_a_shared_layer_is_refused_in_a_stream():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = OnlineTAdaConv2d(3, 3, 1)

        def forward(self, x):
            return self.head(x) + self.head(x)

    net = Shared()
    net(torch.randn(1, 3, 4, 4))
    with streaming(net), pytest.raises(InputError, match="head is used twice in one frame"):
        net(torch.randn(1, 3, 4, 4))


def test_works_under_autocast():
    net, clip = network(), torch.randn(2, 3, 4, 12, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with clips(net, 4):
            folded = net(clip.transpose(1, 2).flatten(0, 1)).view(2, 4, 8, 10, 10).transpose(1, 2)
        with streaming(net, batch_size=2):
            stream = torch.stack([net(f) for f in clip.unbind(2)], 2)
    torch.testing.assert_close(folded.float(), stream.float(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_works_compiled(backend):
    layer = disturbed(OnlineTAdaConv2d(4, 4, 3))
    compiled = torch.compile(layer.step, backend=backend, fullgraph=True)
    state, reference = layer.init_state(2), layer.init_state(2)
    with torch.no_grad():
        for frame in torch.randn(4, 2, 4, 6, 6):
            y, state = compiled(frame, state)
            expected, _ = layer.step(frame, reference)
            torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
        assert int(state["seen"][0]) == 4


def test_a_compiled_model_streams():
    net = network()
    compiled, frames = torch.compile(net, backend="eager"), torch.randn(4, 1, 3, 12, 12)
    with torch.no_grad():
        with streaming(compiled):
            got = [compiled(f) for f in frames]
        with streaming(net):
            expected = [net(f) for f in frames]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_trains_through_time():
    layer = OnlineTAdaConv2d(4, 4, 3)
    layer(torch.randn(2, 4, 5, 6, 6)).square().mean().backward()
    assert layer.calibration.head.taps.grad.abs().sum() > 0


def test_trains_data_parallel():
    """DDP wraps the model; clips bind its layers; gradients reach the calibration."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        net = network().train()
        parallel = nn.parallel.DistributedDataParallel(net)
        with clips(parallel, 4):
            parallel(torch.randn(8, 3, 12, 12)).square().mean().backward()
        assert net[0].calibration.head.taps.grad.abs().sum() > 0
        assert init_state(parallel, 1).buffers.keys() == init_state(parallel.module, 1).buffers.keys()
    finally:
        dist.destroy_process_group()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("calibration", ["online", "causal_route", "attention"])
def test_cuda_graph_replays_advance_the_state(calibration):
    net = network(calibration).cuda()
    frames = torch.randn(6, 2, 3, 12, 12, device="cuda")
    state, static = init_state(net, 2), frames[0].clone()
    with torch.no_grad():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            step(net, static, state)  # warm-up; also makes the buffers that need a frame's size
        torch.cuda.current_stream().wait_stream(side)
        state.reset()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y, _ = step(net, static, state)
        state.reset()
        reference = init_state(net, 2)
        for frame in frames:
            static.copy_(frame)
            graph.replay()
            expected, _ = step(net, frame, reference)
            torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)


LAYER = OnlineTAdaConv2d(4, 4, 3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: LAYER.step(torch.zeros(2, 4, 6, 6), LAYER.init_state(3)), "has 2 streams, the state has 3"),
        (lambda: LAYER.step(torch.zeros(2, 5, 6, 6), LAYER.init_state(2)), "takes 4 channels"),
        (lambda: LAYER.step(torch.zeros(4, 6, 6), LAYER.init_state(1)), "one frame a stream"),
        (lambda: LAYER(torch.zeros(4, 6, 6)), r"a clip has shape \(B, C, T, H, W\)"),
        (lambda: LAYER.step(torch.zeros(1, 4, 6, 6).double(), LAYER.init_state(1)), "x is torch.float64"),
        (lambda: LAYER.step(torch.zeros(1, 4, 6, 6, device="meta"), LAYER.init_state(1)), "on meta, the state on cpu"),
        (lambda: LAYER.step(torch.zeros(1, 4, 6, 6), OnlineTAdaConv2d(8, 8, 3).init_state(1)), "another module"),
        (lambda: LAYER.init_state(0), "batch_size must be at least 1"),
        (lambda: step(network(), torch.zeros(2, 3, 12, 12), LAYER.init_state(2)), "the state has no '0.past'"),
        (lambda: streaming(nn.Conv2d(3, 3, 1)).__enter__(), "has no temporal module"),
        (lambda: init_state(nn.Sequential(TAdaConv2d(4, 4, 3))), "cannot run live"),
        (lambda: run_in(clips(LAYER, 4), torch.zeros(6, 4, 6, 6)), "does not hold clips of 4 frames"),
        (lambda: run_in(clips(LAYER, 0), torch.zeros(6, 4, 6, 6)), "num_frames must be at least 1"),
    ],
)
def test_wrong_input_is_one_clear_line(call, says):
    with pytest.raises(InputError, match=says) as error:
        call()
    assert "\n" not in str(error.value)


def run_in(context, x):
    with context:
        return LAYER(x)
