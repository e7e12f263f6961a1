"""TCTrack and TCTrack++ against the published networks, in streams, batches and clips."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch

from onlinetada.errors import InputError
from onlinetada.published import load_published, published_state_dict
from onlinetada.trackers.models.fold import fold_batch_norms
from onlinetada.trackers.models.tctrack import TCTrack, decode_boxes

TOLERANCE = 5e-4  # the stored numbers carry 1e-4 of float32 noise


@cache
def build(published: Any, quirks: Any = "published") -> TCTrack:
    """A network that no test changes."""
    network = TCTrack(plus_plus=published.model == "tctrackpp", quirks=quirks)
    load_published(network, published.checkpoint)
    return network.eval().requires_grad_(False)


def memory_as_published(tokens: torch.Tensor) -> torch.Tensor:
    """Undo the re-reading of the (B, 121, 192) memory that a network with quirks keeps."""
    return tokens.transpose(1, 2).reshape(tokens.shape)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, atol: float = TOLERANCE) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def assert_frame(published: Any, t: int, maps: Any, memory: torch.Tensor, row: int = 0) -> None:
    assert_close(maps.cls[row : row + 1, 0], published.tensor(f"cls_{t}"))
    assert_close(maps.score[row : row + 1, 0], published.tensor(f"score_{t}"))
    assert_close(maps.loc[row : row + 1, 0], published.tensor(f"loc_{t}"))
    assert_close(memory_as_published(memory)[row : row + 1].transpose(0, 1), published.tensor(f"memory_{t}"))


@pytest.mark.parametrize("folded", [False, True])
def test_stream_gives_the_published_numbers(published: Any, folded: bool) -> None:
    network = build(published)
    if folded:
        network = fold_batch_norms(deepcopy(network)).to(memory_format=torch.channels_last)
    search = published.tensor("search")
    state = network.start(published.tensor("template"), search[:1], torch.zeros(1, 4))
    assert_close(state["template"], published.tensor("zf"))
    assert_close(state["memory"].transpose(1, 2).view(1, 192, 11, 11), published.tensor("memory_0"))
    for layer in (1, 2):
        stored = published.tensor(f"state{layer}_0")
        kept = state[f"backbone.temporalconv{layer}.{'past' if published.model == 'tctrack' else 'prior'}"]
        assert_close(kept, stored.view(1, 384, 3)[:, :, 1:] if published.model == "tctrack" else stored)
    for t in range(1, len(search)):
        maps, new = network.advance(search[t : t + 1].unsqueeze(2), state.buffers)
        state.commit(new)
        assert_frame(published, t, maps, state["memory"])


def test_rows_at_different_times_of_their_streams(published: Any) -> None:
    network = build(published)
    template, search = published.tensor("template"), published.tensor("search")
    state = network.start(template, search[:1], torch.zeros(1, 4))
    network.step(search[1:2], state)
    network.step(search[2:3], state)
    joined = state.select([0])
    for frames_had in (1, 0):
        other = network.start(template, search[:1], torch.zeros(1, 4))
        for t in range(1, frames_had + 1):
            network.step(search[t : t + 1], other)
        joined = joined.append(other)
    maps, new = network.advance(search[[3, 2, 1]].unsqueeze(2), joined.buffers)
    for row, t in enumerate((3, 2, 1)):
        assert_frame(published, t, maps, new["memory"], row)


@pytest.mark.parametrize("quirks", ["none", "trained"])
def test_a_clip_equals_the_stream(published: Any, quirks: Any) -> None:
    network = build(published, quirks)
    template = published.tensor("template").repeat(2, 1, 1, 1)
    search = published.tensor("search")
    clip = torch.stack([search[1:3], search[[4, 2]]]).transpose(1, 2)
    first = search[[0, 3]]
    whole = network(template, clip, torch.zeros(2, 4), first=first)
    state = network.start(template, first, torch.zeros(2, 4))
    for t in range(clip.shape[2]):
        maps, new = network.advance(clip[:, :, t : t + 1], state.buffers)
        state.commit(new)
        for ours, theirs in zip(whole, maps, strict=True):
            assert_close(ours[:, t], theirs[:, 0], atol=1e-4)


def test_quirks_change_the_answer(published: Any) -> None:
    answers = []
    for quirks in ("none", "trained", "published"):
        network = build(published, quirks)
        search = published.tensor("search")
        state = network.start(published.tensor("template"), search[:1], torch.zeros(1, 4))
        answers.append([network.step(search[t : t + 1], state)[0].scores for t in (1, 2)])
    none, trained, as_published = answers
    assert (none[0] - trained[0]).abs().max() > 0.01
    assert_close(trained[0], as_published[0], atol=1e-6)  # the first frame's memory is a proper map in both
    assert (trained[1] - as_published[1]).abs().max() > 0.01


def test_saving_gives_the_published_file_back(published: Any) -> None:
    saved = published_state_dict(build(published))
    assert {name: tuple(t.shape) for name, t in saved.items()} == published.shapes
    assert all(torch.equal(saved[name], published.checkpoint[name]) for name in saved)


def test_frozen_row_is_left_as_it_is(published: Any) -> None:
    network = build(published, "none")
    search = published.tensor("search")
    state = network.start(published.tensor("template").repeat(2, 1, 1, 1), search[:2], torch.zeros(2, 4))
    before = state.clone()
    state.freeze([1])
    network.step(search[2:4], state)
    changed = [not torch.equal(state[name], before[name]) for name in before.buffers if name != "template"]
    assert all(changed)
    assert all(torch.equal(state[name][1], before[name][1]) for name in before.buffers)


def test_gradients_reach_every_used_parameter() -> None:
    network = TCTrack(plus_plus=True)
    torch.nn.init.ones_(network.grader.transformer.encoder.layers[0].modulation.gamma)
    maps = network(torch.rand(1, 3, 127, 127) * 255, torch.rand(1, 3, 1, 287, 287) * 255, torch.zeros(1, 4))
    sum(m.square().mean() for m in maps).backward()
    silent = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []


def test_decoding_reads_what_lies_outside_as_99_percent() -> None:
    loc = torch.tensor([[[1.5, 0.0, -1.0, 0.2], [0.1, 0.2, 0.3, 0.4]]])
    box = decode_boxes(loc, torch.tensor([[16.0, -32.0], [0.0, 0.0]]))
    far, near = 143 * torch.atanh(torch.tensor([0.99, 0.2]))
    assert_close(box[0, 0], torch.stack([16 - far / 2, -32 + (far + near) / 2, far, torch.tensor(1.0)]), atol=1e-3)
    width = 143 * (torch.atanh(torch.tensor(0.1)) + torch.atanh(torch.tensor(0.2)))
    assert_close(box[0, 1, 2], width, atol=1e-3)


def test_wrong_input_is_one_line(published: Any) -> None:
    with pytest.raises(InputError, match="quirks must be"):
        TCTrack(quirks="some")  # type: ignore[arg-type]
    network = build(published)
    state = network.start(published.tensor("template"), published.tensor("search")[:1], torch.zeros(1, 4))
    with pytest.raises(InputError, match="2 search regions, but the state has 1"):
        network.step(published.tensor("search")[:2], state)
