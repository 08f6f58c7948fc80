"""Rounds that are recorded and replayed give what rounds give that are not."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recording import record_rounds, traced
from test_qstar_invariance import completions

from winnow.qstar import decoder, graphs, rounds, verification
from winnow.qstar.graphs import Graphs


def alike(found, expected):
    """The same tokens and reasons; α and the like to the digits that are told."""
    assert found.keys() == expected.keys()
    for key, (tokens, reason, summary) in expected.items():
        assert found[key][:2] == (tokens, reason), key
        if summary is not None:
            assert found[key][2]["alpha_values"] == summary["alpha_values"]
            for name in ("beta_mean", "neg_log_z_mean", "kl_theta_mean"):
                assert math.isclose(found[key][2][name], summary[name], abs_tol=2e-6)


@pytest.mark.parametrize(
    ("alpha", "depth", "parameters"),
    [
        ("policy", None, {}),
        ("kl_symmetry", 3, {}),
        pytest.param("kl_symmetry", 1, {}, marks=pytest.mark.slow),
        pytest.param("entropy", 4, {"top_p": 0.8, "temperature": 1.5}, marks=pytest.mark.slow),
        pytest.param("kl_symmetry", None, {}, marks=pytest.mark.slow),
    ],
)
def test_replayed_rounds_draw_the_same(student, teacher, alpha, depth, parameters, monkeypatch):
    expected = completions(student, teacher, alpha, 7, depth=depth, **parameters)
    made = record_rounds(monkeypatch)
    alike(completions(student, teacher, alpha, 7, depth=depth, **parameters), expected)
    (kept,) = made
    assert kept.replayed > 0, "rounds were replayed, and not only drawn as before"
    assert kept._record is not None, "nothing was given up"


def test_two_prompts_of_one_model(student, monkeypatch):
    expected = completions(student, None, "kl_symmetry", 7)
    made = record_rounds(monkeypatch)
    alike(completions(student, None, "kl_symmetry", 7), expected)
    assert made[0].replayed > 0


def test_a_whole_round_is_recorded_where_nothing_waits(student, teacher, monkeypatch):
    expected = completions(student, teacher, "kl_symmetry", 7, depth=3)
    # The trace does not mind what would wait for a GPU; the settlement is in the recording then.
    monkeypatch.setattr(verification.ByTorch, "waits", False)
    made = record_rounds(monkeypatch, lambda work: work)
    alike(completions(student, teacher, "kl_symmetry", 7, depth=3), expected)
    assert made[0].replayed > 0


def frozen_lengths(patch):
    """What the host knows of the slots' lengths is read inside a round."""
    place, forward = decoder.Decoder.place, decoder.Decoder.forward

    def forgetful(self, rows, new, going=None, rounded=None):
        span = place(self, rows, new, going, rounded)
        self._kept = self._placed.tolist()
        return span

    def careless(self, tokens, ahead=0):
        self._placed.copy_(torch.tensor(self._kept))
        return forward(self, tokens, ahead)

    patch.setattr(decoder.Decoder, "place", forgetful)
    patch.setattr(decoder.Decoder, "forward", careless)


def frozen_inputs(patch):
    """Each round brings a tensor of its own with its last tokens and seeds."""
    patch.setattr(
        rounds.Rounds,
        "_stage",
        lambda self, values, rows: torch.tensor(values + [(0,) * len(values[0])] * (rows - len(values))),
    )


@pytest.mark.parametrize("mistake", [pytest.param(frozen_lengths, marks=pytest.mark.slow), frozen_inputs])
def test_what_was_frozen_is_found_and_nothing_wrong_is_drawn(mistake, student, teacher, monkeypatch, caplog):
    expected = completions(student, teacher, "kl_symmetry", 7, depth=2)
    made = record_rounds(monkeypatch)
    mistake(monkeypatch)
    alike(completions(student, teacher, "kl_symmetry", 7, depth=2), expected)
    assert made[0].replayed == 0
    assert [record.message for record in caplog.records if "recorded round" in record.message] == [
        "a recorded round gave other numbers than the round itself: rows in progress begin again, "
        "without CUDA graphs"
    ]


def test_what_cannot_be_recorded_is_drawn_all_the_same(student, teacher, monkeypatch, caplog):
    def refused(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    expected = completions(student, teacher, "kl_symmetry", 7, depth=2)
    record_rounds(monkeypatch, refused)
    alike(completions(student, teacher, "kl_symmetry", 7, depth=2), expected)
    told = [record.message for record in caplog.records if "cannot be recorded" in record.message]
    assert len(told) == 1
    assert "(operation not permitted when stream is capturing)" in told[0]


@pytest.mark.slow
def test_rows_that_fill_up_a_shape_touch_no_sequence(student, teacher, monkeypatch):
    # 27 rows and 13 slots: the last rounds have 12, 8, 6 rows and less, some of them filled up.
    expected = completions(student, teacher, "kl_symmetry", 13, depth=3)
    made = record_rounds(monkeypatch)
    alike(completions(student, teacher, "kl_symmetry", 13, depth=3), expected)
    shapes = {shape[0] for shape in made[0]._shapes}
    assert shapes <= {1, 2, 3, 4, 6, 8, 12, 13}


@given(count=st.integers(1, 300), slots=st.integers(1, 300))
def test_rows_are_rounded_up_within_the_slots(count, slots):
    count = min(count, slots)
    found = Graphs(slots, traced).rows(count)
    assert count <= found <= slots
    assert found <= 1.5 * count or found == slots


@given(length=st.integers(1, 200_000))
def test_spans_are_rounded_up_by_little(length):
    found = Graphs(1, traced).span(length)
    assert length <= found < length + max(graphs.SMALLEST_SPAN, length / 4)
    assert found % graphs.SMALLEST_SPAN == 0


def test_spans_up_to_any_length_are_few():
    lengths = Graphs(1, traced)
    assert len({lengths.span(length) for length in range(1, 16_385)}) < 40


def counting(kept, values):
    """Work that gives the next of these values, [rows, 1], and counts how often it was done."""

    def work():
        kept.append(1)
        return (torch.tensor(values),)

    return work


def test_first_as_it_is_then_recorded_then_both_then_replayed():
    done, replays = [], []

    def record(work):
        (given,) = work()
        done.pop()

        def replay():
            replays.append(1)
            return (given,)

        return replay

    kept = Graphs(4, record)
    seen = []
    for _ in range(5):
        (found,) = kept.run("shape", 2, counting(done, [[1.0], [math.nan], [3.0]]))
        assert found[0, 0] == 1
        seen.append((len(done), len(replays), kept.settled))
    assert seen == [(1, 0, False), (2, 0, False), (3, 1, False), (3, 2, True), (3, 3, True)]


def test_rows_that_mean_nothing_are_not_compared():
    values = iter([[[1.0], [5.0]], [[1.0], [5.0]], [[1.0], [6.0]]])

    def work():
        return (torch.tensor(next(values)),)

    kept = Graphs(4, lambda work: lambda: (torch.tensor([[1.0], [7.0]]),))
    for _ in range(3):
        kept.run("shape", 1, work)
    assert kept._record is not None


def test_no_more_shapes_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(graphs, "MOST", 2)
    recorded = []

    def record(work):
        recorded.append(1)
        return work

    kept, done = Graphs(4, record), []
    for shape in (1, 2, 3):
        for _ in range(4):
            kept.run(shape, 1, counting(done, [[1.0]]))
    assert len(recorded) == 3
    assert [shape for shape, each in kept._shapes.items() if each.replay] == [2, 3], "the oldest has gone"
    kept.run(2, 1, counting(done, [[1.0]]))
    for _ in range(2):
        kept.run(4, 1, counting(done, [[1.0]]))
    assert [shape for shape, each in kept._shapes.items() if each.replay] == [2, 4], "the last used stays"


def test_the_trace_freezes_what_python_knows():
    """Else the tests above would show nothing."""
    buffer, known = torch.zeros(2), [1.0]
    replay = traced(lambda: (buffer + known[0],))
    buffer.fill_(5.0)
    known[0] = 7.0
    assert replay()[0].tolist() == [6.0, 6.0]


@pytest.mark.parametrize("waiting", [lambda t: t[t > 0], lambda t: t * t.sum().item(), lambda t: t.tolist()])
def test_the_trace_refuses_what_waits(waiting):
    values = torch.arange(4.0)
    with pytest.raises((AssertionError, RuntimeError)):
        traced(lambda: (torch.zeros(1), waiting(values + 1)))


@pytest.fixture
def gpus(monkeypatch):
    """What `on_cuda` needs of torch, without a GPU: (the current stream, those that were recorded on)."""
    current, recorded = ["the usual one"], []

    @contextmanager
    def stream(chosen):
        before, current[0] = current[0], chosen
        try:
            yield
        finally:
            current[0] = before

    @contextmanager
    def graph(recording, pool, stream, capture_error_mode):
        """As torch's own: where the recording fails, its stream is not left."""
        before, current[0] = current[0], stream
        recorded.append(stream)
        yield
        current[0] = before

    for name, stands_in in {
        "graph_pool_handle": object,
        "Stream": lambda device: f"beside {device}",
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "device": lambda device: nullcontext(),
        "stream": stream,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stands_in)
    graphs._aside.cache_clear()
    yield current, recorded
    graphs._aside.cache_clear()


def test_each_gpu_has_a_stream_to_record_on_which_is_left_when_that_fails(gpus):
    current, recorded = gpus

    def refused():
        raise RuntimeError("operation not permitted when stream is capturing")

    for index in (0, 1):
        graphs.on_cuda(torch.device("cuda", index))(lambda: (torch.zeros(1),))
    assert recorded == ["beside cuda:0", "beside cuda:1"]
    with pytest.raises(RuntimeError, match="capturing"):
        graphs.on_cuda(torch.device("cuda", 0))(refused)
    assert current == ["the usual one"]


def test_what_recordings_give_lies_in_one_place(gpus):
    """Else each of 48 shapes would keep its distributions over the vocabulary."""
    record = graphs.on_cuda(torch.device("cuda", 0))
    given = []
    for rows in (4, 3, 1):
        tokens, logits = torch.arange(rows), torch.randn(rows, 2, 5)[:, :, :4]
        replay = record(lambda found=(tokens, logits): found)
        given.append(replay())
        assert all(torch.equal(*pair) for pair in zip(given[-1], (tokens, logits), strict=True))
    assert all(len({each.data_ptr() for each in column}) == 1 for column in zip(*given, strict=True))
