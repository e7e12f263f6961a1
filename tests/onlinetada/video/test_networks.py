"""Every network builds, trains, and runs live with the numbers of its clips."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import onlinetada
from onlinetada import InputError
from onlinetada.video import NETWORKS, TemporalOptions, action_probabilities, action_top, build

_spec = importlib.util.spec_from_file_location("video_networks", Path(__file__).parent / "networks.py")
networks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)
small = networks.small
NAMES = list(networks.CALIBRATED)


def clip_for(name, frames=16, batch=2):
    return torch.rand(batch, 3, 32 if name == "slowfast_4x16" else frames, 32, 32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tada", [True, False])
def test_scores_of_clips(name, tada):
    network = small(name, tada=tada)
    x = clip_for(name)
    with torch.no_grad():
        y = network(x)
    assert y.shape == (2, 5)
    assert any(isinstance(m, onlinetada.TAdaConv2d | onlinetada.TAdaConv3d) for m in network.modules()) == tada


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_gives_the_numbers_of_the_clip(name):
    network, x = small(name, online=True), clip_for(name)
    with torch.no_grad():
        clip, final = network(x, per_frame=True), network(x)
        with onlinetada.streaming(network, batch_size=2):
            stream = torch.stack([network(frame) for frame in x.unbind(2)], 1)
        with onlinetada.streaming(network, batch_size=2):
            parts = torch.cat([network(part, per_frame=True) for part in x.split(5, 2)], 1)
    stride = x.shape[2] // clip.shape[1]
    assert clip.std() > 1e-3
    torch.testing.assert_close(stream[:, stride - 1 :: stride], clip, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(stream[:, -1], final, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts, stream, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["tadaconvnextv2_t", "slowfast_8x8"])
def test_between_tokens_a_stream_predicts_as_if_its_clip_ended_there(name):
    network, x = small(name, online=True), clip_for(name, 12, 1)
    stride = {"tadaconvnextv2_t": 2, "slowfast_8x8": 4}[name]
    with torch.no_grad(), onlinetada.streaming(network, batch_size=1):
        stream = torch.stack([network(frame) for frame in x.unbind(2)], 1)
    phase = 0  # of frames 0, s, 2s, ...: the clip that has the first frame s - 1 times more before it
    shifted = torch.cat([x[:, :, :1].expand(-1, -1, stride - 1 - phase, -1, -1), x], 2)[:, :, : 2 * stride]
    with torch.no_grad():
        clip = network(shifted, per_frame=True)
    assert (stream[:, stride] - stream[:, stride - 1]).abs().max() > 1e-6
    torch.testing.assert_close(stream[:, phase : stride + 1 : stride], clip, atol=1e-5, rtol=1e-5)


def test_a_row_that_is_reset_begins_anew_while_the_other_goes_on():
    network, x = small("tadaconvnextv2_t", online=True), clip_for("", 9)
    with torch.no_grad():
        with onlinetada.streaming(network, batch_size=2):
            whole = [network(f) for f in x.unbind(2)]
        with onlinetada.streaming(network, batch_size=2) as state:
            for frame in x[:, :, :3].unbind(2):
                network(frame)
            state.reset([0])
            again = [network(torch.stack([x[0, :, t], x[1, :, t + 3]])) for t in range(6)]
    for t in range(6):
        torch.testing.assert_close(again[t][0], whole[t][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(again[t][1], whole[t + 3][1], atol=1e-5, rtol=1e-5)


def test_later_frames_do_not_change_what_an_online_network_said():
    network, x = small("tada2d_r50", online=True), clip_for("", 6)
    other = torch.cat([x[:, :, :4], torch.rand_like(x[:, :, 4:])], 2)
    with torch.no_grad():
        a, b = network(x, per_frame=True), network(other, per_frame=True)
    assert torch.equal(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:])


def test_an_offline_network_sees_the_order_of_frames_and_the_baseline_does_not():
    x = clip_for("", 8)
    with torch.no_grad():
        for tada in (True, False):
            network = small("tada2d_r18", tada=tada)
            same = torch.allclose(network(x), network(x.flip(2)), atol=1e-6)
            assert same != tada


@pytest.mark.parametrize("name", ["tada2d_r18", "r2plus1d_18", "tadaconvnextv2_t"])
@pytest.mark.parametrize("online", [False, True])
def test_every_parameter_learns(name, online):
    network = small(name, online=online).train()
    network(clip_for(name, 8, 3)).square().sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None]
    assert not unused


@pytest.mark.parametrize("name", NAMES)
def test_a_calibrated_network_starts_as_the_plain_one(name):
    options = {"disturb": False, "aggregation": "none"}
    tada, plain = small(name, **options), small(name, tada=False, **options)
    left = tada.load_state_dict(plain.state_dict(), strict=False)
    assert not left.unexpected_keys and all(".calibration." in k for k in left.missing_keys)
    x = clip_for(name)
    with torch.no_grad():
        torch.testing.assert_close(tada(x), plain(x), atol=1e-5, rtol=1e-5)


def test_heads():
    x = clip_for("", 4)
    with torch.no_grad():
        both = small("tada2d_r18", num_classes=(3, 4))(x)
        features = small("tada2d_r18", num_classes=0)(x)
        with onlinetada.streaming(live := small("tada2d_r18", num_classes=0, online=True), batch_size=2):
            assert live(x[:, :, 0]).shape == (2, 32)
    assert both["verb"].shape == (2, 3) and both["noun"].shape == (2, 4)
    assert features.shape == (2, 4, 32)
    joint = action_probabilities(both)
    torch.testing.assert_close(joint.sum((1, 2)), torch.ones(2))
    top = action_top(both)
    assert torch.equal(joint[torch.arange(2), top[:, 0], top[:, 1]], joint.flatten(1).amax(1))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: build("tada2d_r5", num_classes=2), "did you mean 'tada2d_r50'"),
        (lambda: build("tada2d_r18", num_classes=2, contxt="local"), "did you mean 'context'"),
        (lambda: build("tada2d_r18", num_classes=2, context="lokal"), "context must be one of"),
        (lambda: build("tada2d_r18", num_classes=-1), "num_classes"),
        (lambda: TemporalOptions(source="learned"), "num_frames"),
        (lambda: TemporalOptions(source="dynamic", varying=False, online=True), "no online form"),
        (lambda: small("slowfast_8x8")(torch.rand(1, 3, 6, 32, 32)), "multiple of 4"),
        (lambda: small("tada2d_r18")(torch.rand(1, 3, 32, 32)), "online=True"),
        (lambda: small("tada2d_r18")(torch.rand(1, 4, 2, 32, 32)), r"\(B, 3, T, H, W\)"),
        (lambda: small("tadaconvnext_t", online=True)(torch.rand(1, 3, 1, 32, 32)), "shorter than the temporal stride"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(call, said):
    with pytest.raises(InputError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


def test_all_the_names():
    wanted = {"tada2d_r18", "tada2d_r50", "r3d_18", "r2plus1d_18", "slowfast_4x16", "slowfast_8x8", "tsn_r50"}
    wanted |= {f"tadaconvnext{v}_{s}" for v in ("", "v2") for s in "tsb"}
    assert wanted <= set(NETWORKS)


def test_one_step_of_a_network_with_a_temporal_stride_becomes_a_file(tmp_path):
    from onlinetada.export import export_program, load_step

    network, x = small("tadaconvnextv2_t", online=True, depths=(1,), widths=(8,)), clip_for("", 5)
    exported = load_step(export_program(network, x[:1, :, 0], tmp_path / "step.pt2"))
    state = exported.init_state(batch_size=2)
    with torch.no_grad(), onlinetada.streaming(network, batch_size=2):
        for frame in x.unbind(2):
            y, state = exported.step(frame, state)
            torch.testing.assert_close(y, network(frame), atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_graphed_step_gives_the_numbers_of_the_clip(name):
    network, x = small(name, online=True).cuda(), clip_for(name).cuda()
    state, static = onlinetada.init_state(network, 2), x[:, :, 0].contiguous()
    with torch.no_grad():
        clip = network(x, per_frame=True)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                onlinetada.step(network, static, state)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y, _ = onlinetada.step(network, static, state)
        state.reset()
        stream = []
        for frame in x.unbind(2):
            static.copy_(frame)
            graph.replay()
            stream.append(y.clone())
    stride = x.shape[2] // clip.shape[1]
    torch.testing.assert_close(torch.stack(stream, 1)[:, stride - 1 :: stride], clip, atol=1e-3, rtol=1e-3)
