"""State as data: rows are reset, frozen, selected, added, moved, saved."""

from __future__ import annotations

import pytest
import torch

from onlinetada import InputError, OnlineTAdaConv2d, StreamState


@pytest.fixture
def layer():
    torch.manual_seed(0)
    made = OnlineTAdaConv2d(4, 4, 3)
    for p in made.parameters():
        p.data.normal_(0, 0.2)
    return made


@pytest.fixture
def state(layer):
    made = layer.init_state(3)
    with torch.no_grad():
        for _ in range(4):
            layer.step(torch.randn(3, 4, 6, 6), made)
    return made


@pytest.mark.parametrize("rows", [[1], 1, torch.tensor([1]), torch.tensor([False, True, False]), [-2], (1, 1)])
def test_reset_takes_indices_or_a_mask(state, rows):
    kept = state["past"].clone()
    assert state.reset(rows) is state
    assert state["seen"].tolist() == [4, 0, 4]
    assert (state["past"][1] == 0).all()
    assert torch.equal(state["past"][[0, 2]], kept[[0, 2]])


def test_reset_of_all(state):
    state.reset()
    assert state["seen"].tolist() == [0, 0, 0]


def test_freeze_names_exactly_the_frozen_rows(layer, state):
    frame = torch.randn(3, 4, 6, 6)
    kept = state["past"].clone()
    state.freeze([0, 2])
    layer.step(frame, state)
    assert state["seen"].tolist() == [4, 5, 4]
    assert torch.equal(state["past"][[0, 2]], kept[[0, 2]])
    state.freeze(torch.tensor([True, False, False]))
    layer.step(frame, state)
    assert state["seen"].tolist() == [4, 6, 5]
    state.unfreeze()
    layer.step(frame, state)
    assert state["seen"].tolist() == [5, 7, 6]


def test_reset_thaws(layer, state):
    state.freeze([0])
    state.reset([0])
    layer.step(torch.randn(3, 4, 6, 6), state)
    assert state["seen"].tolist() == [1, 5, 5]


def test_select_and_append_are_inverse(state):
    state.freeze([1])
    again = state.select([0]).append(state.select([1, 2]))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in state.state_dict().items())
    assert state.select([2, 0])["past"][0].equal(state["past"][2])
    assert state.select(torch.tensor([False, True, True])).batch_size == 2
    again.reset()
    assert state["seen"].tolist() == [4, 4, 4]


def test_clone_and_to_are_copies(state):
    for copy in (state.clone(), state.to("cpu")):
        copy.reset()
        assert state["seen"].tolist() == [4, 4, 4]


def test_save_and_restore_in_the_middle_of_a_stream(layer, state):
    saved = state.state_dict()
    frame = torch.randn(3, 4, 6, 6)
    first, _ = layer.step(frame, state)
    assert state.load_state_dict(saved) is state
    second, _ = layer.step(frame, state)
    assert torch.equal(first, second)


def test_nbytes_counts_every_buffer(layer):
    assert layer.init_state(1).nbytes == 4 * 4 * 2 + 8 + 1
    assert layer.init_state(10).nbytes == 10 * layer.init_state(1).nbytes


def test_is_outside_the_modules_state_dict(layer):
    assert not any("past" in key or "seen" in key for key in layer.state_dict())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: s.reset([3]), "row 3 does not exist: the state has 3 rows"),
        (lambda s: s.freeze(torch.tensor([True])), r"row mask has shape \(1,\)"),
        (lambda s: s.append(OnlineTAdaConv2d(8, 8, 3).init_state(1)), "rows of 'past' differ"),
        (lambda s: s.append(StreamState.of({}, 1)), "another module"),
        (lambda s: s.load_state_dict({}), "another module"),
        (lambda s: s.load_state_dict(s.select([0]).state_dict()), "has shape"),
    ],
)
def test_wrong_input_is_one_clear_line(state, call, says):
    with pytest.raises(InputError, match=says):
        call(state)
