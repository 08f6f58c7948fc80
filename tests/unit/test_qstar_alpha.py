"""The α solver against a 200-step bisection in float64, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bisection import bisect, mixture, roots_function
from hypothesis import example, given, settings
from hypothesis import strategies as st

from winnow.arms import Alpha
from winnow.errors import UserError
from winnow.qstar.alpha import DisjointSupport, solve_alpha
from winnow.qstar.mixture import mix

SOLVED = ("kl_symmetry", "ess_balance")
ALL = (*SOLVED, "entropy", "reverse_kl_symmetry", "policy", "teacher", "fixed-0.3")
EXAMPLES = max(25, settings().max_examples // 4)
KINDS = (
    "certain of other tokens",
    "moderate",
    "sharp",
    "nearly identical",
    "identical",
    "near-disjoint",
    "masked",
    "one token",
)


def pair(kind: str, vocabulary: int, seed: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of a student and a teacher, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal() -> torch.Tensor:
        return torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)

    s, t = normal(), normal()
    if kind == "sharp":
        # Some rows are sure of one token, others hardly; both models on tokens of their own.
        s, t = (
            s * torch.tensor([[2.0], [8.0], [25.0]])[:rows],
            t * torch.tensor([[25.0], [8.0], [1.0]])[:rows],
        )
    elif kind == "nearly identical":
        t = s + 1e-4 * t
    elif kind == "identical":
        t = s.clone()
    elif kind == "near-disjoint":
        half = vocabulary // 2
        s[:, :half] -= torch.tensor([[15.0], [40.0], [150.0]])
        t[:, half:] -= torch.tensor([[20.0], [40.0], [90.0]])
    elif kind == "masked":
        s[:, 0], t[:, 1] = -torch.inf, -torch.inf
        s[:, 2], t[:, 2] = -torch.inf, -torch.inf
    elif kind == "certain of other tokens":
        s[:, 1:] -= 100.0
        t[:, :1] -= 60.0
        t[:, 2:] -= 60.0
    elif kind == "one token":
        s[:, 1:] = -torch.inf
    return s.log_softmax(dim=1), t.log_softmax(dim=1)


def every_kind(vocabulary: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows of each kind."""
    students, teachers = zip(*(pair(kind, vocabulary, seed) for kind in KINDS), strict=True)
    return torch.cat(students), torch.cat(teachers)


pairs = st.builds(every_kind, st.integers(4, 60), st.integers(0, 2**31))


def total_variation(s: torch.Tensor, t: torch.Tensor, alpha: np.ndarray, other: np.ndarray) -> np.ndarray:
    s, t = s.double().numpy(), t.double().numpy()
    return 0.5 * np.abs(mixture(s, t, alpha)[0] - mixture(s, t, other)[0]).sum(axis=1)


@pytest.mark.parametrize("method", SOLVED)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=EXAMPLES)
@given(pairs)
@example(every_kind(4, 9969259))
@example(pair("moderate", 3_000, 0))
@example(pair("sharp", 3_000, 1))
def test_solves_as_well_as_a_long_bisection(method, dtype, logs):
    s, t = (values.to(dtype) for values in logs)
    alpha = solve_alpha(s, t, method).alpha.double().numpy()
    assert ((alpha >= 0) & (alpha <= 1)).all()
    expected = bisect(roots_function(method, s.double().numpy(), t.double().numpy()), len(s))
    assert total_variation(s, t, alpha, expected).max() <= 1e-5


@pytest.mark.parametrize("method", ALL)
@settings(max_examples=EXAMPLES // 2)
@given(pairs)
def test_never_nan_and_alpha_in_bounds(method, logs):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        solution = solve_alpha(logs[0].to(dtype), logs[1].to(dtype), method)
        assert ((solution.alpha >= 0) & (solution.alpha <= 1)).all()
        for name in ("log_z", "kl_theta", "kl_t", "ess_theta", "ess_t", "beta"):
            assert not getattr(solution, name).isnan().any(), name
        assert (solution.log_z <= 1e-2).all()
        assert ((solution.beta > 0) & (solution.beta <= 1)).all()


@pytest.mark.parametrize("method", SOLVED)
def test_takes_few_passes(method):
    s = torch.cat([pair("moderate", 1000, seed)[0] for seed in range(40)]).float()
    t = torch.cat([pair("moderate", 1000, seed)[1] for seed in range(40)]).float()
    passes = solve_alpha(s, t, method).passes
    assert passes.median() <= 8
    assert passes.max() <= 16


@pytest.mark.parametrize("method", ALL)
@settings(max_examples=EXAMPLES // 5)
@given(pairs)
def test_a_row_does_not_depend_on_its_batch_mates(method, logs):
    s, t = logs
    together = solve_alpha(s, t, method)
    for row in range(len(s)):
        alone = solve_alpha(s[row : row + 1], t[row : row + 1], method)
        assert alone.alpha[0] == together.alpha[row]
        assert alone.log_z[0] == together.log_z[row]


def test_neither_threads_nor_batch_mates_change_a_long_row():
    # Long enough for torch to share out the sum of a lone row, and many enough for threads of ours.
    s, t = (values[:3, :].repeat(3, 1) for values in pair("sharp", 90_000, 7))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = solve_alpha(s, t, "kl_symmetry")
        alone = [solve_alpha(s[row : row + 1], t[row : row + 1], "kl_symmetry") for row in range(3)]
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        serial = solve_alpha(s, t, "kl_symmetry")
    finally:
        torch.set_num_threads(threads)
    for name in ("alpha", "log_z", "beta", "kl_theta", "ess_t"):
        expected = getattr(serial, name)
        assert torch.equal(getattr(together, name), expected), name
        assert torch.equal(torch.cat([getattr(one, name) for one in alone]), expected[:3]), name


@settings(max_examples=EXAMPLES)
@given(pairs)
def test_entropy_is_the_students_share_of_the_entropy(logs):
    s, t = (values.numpy() for values in logs)

    def entropy(log_p):
        return -np.where(np.isneginf(log_p), 0.0, np.exp(log_p) * np.where(np.isneginf(log_p), 0, log_p)).sum(
            1
        )

    whole = entropy(s) + entropy(t)
    alpha = solve_alpha(*logs, "entropy").alpha.numpy()
    assert alpha[whole > 1e-12] == pytest.approx((entropy(s) / whole)[whole > 1e-12], abs=1e-12)


@pytest.mark.parametrize("kind", ["moderate", "sharp", "nearly identical"])
def test_reverse_kl_symmetry_meets_its_equation(kind):
    for seed in range(20):
        s, t = pair(kind, 50, seed)
        alpha = solve_alpha(s, t, "reverse_kl_symmetry").alpha.numpy()
        _, log_q, _ = mixture(s.numpy(), t.numpy(), alpha)
        from_theta = (s.exp().numpy() * (s.numpy() - log_q)).sum(axis=1)
        from_t = (t.exp().numpy() * (t.numpy() - log_q)).sum(axis=1)
        assert from_theta == pytest.approx(from_t, rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("method", [*SOLVED, "entropy", "reverse_kl_symmetry"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_identical_rows_give_one_half(method, dtype):
    s = pair("moderate", 40, 3)[0].to(dtype)
    certain = torch.full((1, 40), -torch.inf, dtype=dtype)
    certain[0, 7] = 0.0
    rows = torch.cat([s, certain])
    solution = solve_alpha(rows, rows.clone(), method)
    assert solution.alpha.tolist() == [0.5] * 4
    assert solution.beta == pytest.approx(1.0, abs=1e-5)


def test_at_kl_symmetry_both_divergences_are_the_chernoff_information():
    for kind in ("moderate", "sharp"):
        solution = solve_alpha(*pair(kind, 50, 11), "kl_symmetry", tolerance=1e-12)
        assert solution.kl_theta.numpy() == pytest.approx(solution.kl_t.numpy(), rel=1e-8, abs=1e-12)
        assert solution.kl_theta.numpy() == pytest.approx(-solution.log_z.numpy(), rel=1e-8, abs=1e-12)
        assert (solution.log_z < -1e-3).all()


def test_ess_balance_moves_towards_the_model_that_is_worse_covered():
    # The student knows three tokens equally well, the teacher one of them: at α = ½, q* favours
    # neither, and a teacher that doubts less asks for more of itself.
    s = torch.tensor([[0.34, 0.33, 0.33]], dtype=torch.float64).log()
    t = torch.tensor([[0.98, 0.01, 0.01]], dtype=torch.float64).log()
    solution = solve_alpha(s, t, "ess_balance", tolerance=1e-12)
    assert solution.ess_ratio.item() == pytest.approx(1.0, abs=1e-9)
    below = solve_alpha(s, t, f"fixed-{solution.alpha.item() - 0.2:.3f}").ess_ratio.item()
    above = solve_alpha(s, t, f"fixed-{solution.alpha.item() + 0.2:.3f}").ess_ratio.item()
    assert below > 1 > above, "more of the teacher makes the student's sample size the smaller one"


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("kind", ["moderate", "sharp", "masked"])
def test_what_follows_from_alpha_equals_brute_force(method, kind):
    s, t = pair(kind, 30, 5)
    solution = solve_alpha(s, t, method)
    q, log_q, log_z = mixture(s.numpy(), t.numpy(), solution.alpha.numpy())
    p_theta, p_t = s.exp().numpy(), t.exp().numpy()
    common = (p_theta > 0) & (p_t > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl_theta = np.where(common, q * (log_q - s.numpy()), 0.0).sum(1)
        kl_t = np.where(common, q * (log_q - t.numpy()), 0.0).sum(1)
        ess_theta = 1 / np.where(p_theta > 0, p_theta**2 / q, 0.0).sum(1)
        ess_t = 1 / np.where(p_t > 0, p_t**2 / q, 0.0).sum(1)
    for name, expected in {
        "log_z": log_z,
        "kl_theta": kl_theta,
        "kl_t": kl_t,
        "ess_theta": ess_theta,
        "ess_t": ess_t,
        # At either end one model is drawn from whole.
        "beta": np.minimum({"policy": p_theta, "teacher": p_t}.get(method, q), p_theta).sum(1),
    }.items():
        assert getattr(solution, name).numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    if kind != "masked":
        assert solution.ess_ratio.numpy() == pytest.approx(ess_theta / ess_t, rel=1e-9)


@pytest.mark.parametrize("method", ALL)
def test_log_z_belongs_to_alpha_for_every_kind_of_row(method):
    # "one token": q is the same for every α and log Z is not.
    s, t = every_kind(40, 12)
    solution = solve_alpha(s, t, method)
    _, _, log_z = mixture(s.numpy(), t.numpy(), solution.alpha.numpy())
    assert solution.log_z.numpy() == pytest.approx(log_z, rel=1e-9, abs=1e-12)


def test_disjoint_rows_raise_or_are_marked():
    s, t = pair("moderate", 6, 1)
    s[1] = torch.tensor([0.5, 0.5, 0, 0, 0, 0], dtype=torch.float64).log()
    t[1] = torch.tensor([0, 0, 0.5, 0.5, 0, 0], dtype=torch.float64).log()
    for method in ALL:
        with pytest.raises(DisjointSupport) as error:
            solve_alpha(s, t, method)
        assert error.value.rows == [1]
        solution = solve_alpha(s, t, method, on_disjoint="teacher")
        assert solution.disjoint.tolist() == [False, True, False]
        assert solution.alpha[1] == 1.0
        assert solution.log_z[1] == -torch.inf
        assert solution.kl_theta[1] == torch.inf
        assert solution.kl_t[1] == 0.0
        assert solution.beta[1] == 0.0
        others = solve_alpha(s[[0, 2]], t[[0, 2]], method)
        assert solution.alpha[[0, 2]].tolist() == others.alpha.tolist()


def test_masks_that_leave_no_root_give_the_nearer_end():
    # Where both are, the teacher gives more to every token: E_q[d] > 0 for each α.
    s = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64).log()
    t = torch.tensor([[0.3, 0.7, 0.0]], dtype=torch.float64).log()
    assert solve_alpha(s, t, "kl_symmetry").alpha.item() == 0.0
    assert solve_alpha(t, s, "kl_symmetry").alpha.item() == 1.0


def test_inputs_are_checked():
    s, t = pair("moderate", 5, 1)
    with pytest.raises(UserError, match="kl_symmetry"):
        solve_alpha(s, t, "kl_symetry")
    with pytest.raises(ValueError, match=r"\[rows, vocabulary\]"):
        solve_alpha(s, t[:, :4], "kl_symmetry")
    with pytest.raises(ValueError, match=r"\[rows, vocabulary\]"):
        solve_alpha(s[0], t[0], "kl_symmetry")


@pytest.mark.parametrize("method", ["kl_symmetry", "entropy", "ess_balance", "fixed-0.3"])
def test_no_rows_are_solved_too(method):
    none = torch.zeros(0, 30)
    found = solve_alpha(none, none, method)
    assert found.alpha.shape == found.beta.shape == found.ess_theta.shape == (0,)


def test_beta_is_of_what_is_drawn_where_an_end_is_one_model_whole():
    nothing = -torch.inf
    s = torch.tensor([[0.5, 0.3, 0.2, 0.0]], dtype=torch.float64).log()
    t = torch.tensor([[0.2, 0.0, 0.1, 0.7]], dtype=torch.float64).log()
    assert s[0, 3] == t[0, 1] == nothing
    assert solve_alpha(s, t, "policy").beta.item() == 1.0
    assert solve_alpha(s, t, "teacher").beta.item() == pytest.approx(0.2 + 0.1)
    log_q, mixed = mix(s, t, Alpha.parse("teacher"), described=True)
    assert mixed.beta.item() == pytest.approx(torch.minimum(log_q.exp(), s.exp()).sum().item())


@pytest.mark.parametrize("gap", [14.0, 18.0, 25.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_student_certain_of_what_the_teacher_hardly_gives_is_no_tie(gap, dtype):
    generator = torch.Generator().manual_seed(4)
    s, t = torch.randn(2, 50, 8, generator=generator)
    s[:, 2:] = -torch.inf
    s[:, 1] -= gap
    t[:, 0], t[:, 1] = 2 * t[:, 0] - 3, 2 * t[:, 1] - gap
    log_theta, log_t = (torch.log_softmax(logits.to(dtype), dim=1) for logits in (s, t))
    assert solve_alpha(log_theta, log_t, "kl_symmetry").alpha.tolist() == [1.0] * 50


def test_a_sample_size_is_at_most_one():
    s = torch.tensor([[0.0, -1.0, -1e9, -1e9]])
    t = torch.tensor([[-1.0, 0.0, 0.5, 0.5]])
    log_theta, log_t = (torch.log_softmax(logits, dim=1) for logits in (s, t))
    solution = solve_alpha(log_theta, log_t, "fixed", 0.9999999)
    assert 0.0 <= solution.ess_theta.item() <= 1.0
    assert 0.0 <= solution.ess_t.item() <= 1.0
