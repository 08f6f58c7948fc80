"""The Triton kernel against the torch solver and an inverse distribution function in float64.

On a machine without a GPU it runs in Triton's interpreter, on CPU tensors.
"""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from bisection import mixture
from test_qstar_alpha import KINDS, pair, total_variation

from winnow.arms import Alpha
from winnow.qstar import roots
from winnow.qstar.alpha import solve_alpha
from winnow.qstar.mixture import log_probabilities, mix

pytest.importorskip("triton", reason="triton is not installed (envs/requirements-cpu.lock has it)")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter takes seconds where a GPU takes microseconds: two methods run with every change.
OTHERS = ("entropy", "reverse_kl_symmetry", "policy", "teacher")
METHODS = ("kl_symmetry", "fixed-0.3", *(pytest.param(alpha, marks=pytest.mark.slow) for alpha in OTHERS))
# Small, so that few tokens make several blocks, and no vocabulary below is a multiple of it.
BLOCK = 128
LAST = 1 - 2.0**-53


fused = importlib.import_module("winnow.qstar.fused")


def logits(vocabulary: int, seed: int = 0, kinds=KINDS, dtype=torch.float32):
    """Logits of every kind of row, three of each, moved by what a softmax does not see."""
    students, teachers = zip(*(pair(kind, vocabulary, seed) for kind in kinds), strict=True)
    return (torch.cat(students) + 7.0).to(dtype), (torch.cat(teachers) - 31.0).to(dtype)


def numbers(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sample(s, t, draws, alpha, temperature=1.0):
    step = fused.sample(
        s.to(DEVICE), t.to(DEVICE), draws.to(DEVICE), Alpha.parse(alpha), temperature, block=BLOCK
    )
    return on_cpu(step)


def verify(s, t, drafted, accept, residual, alpha, temperature=1.0):
    step = fused.verify(
        *(value.to(DEVICE) for value in (s, t, drafted, accept, residual)),
        Alpha.parse(alpha),
        temperature,
        block=BLOCK,
    )
    return on_cpu(step)


def on_cpu(step):
    return type(step)(**{name: value.cpu() for name, value in vars(step).items()})


def exact(s, t, alpha):
    """Student and q* at these α in float64, from the logits; at an end one model whole."""
    s, t = (values.double().log_softmax(dim=1) for values in (s, t))
    q = torch.from_numpy(mixture(s.numpy(), t.numpy(), alpha.double().numpy())[0])
    q = torch.where(alpha[:, None] == 0, s.exp(), torch.where(alpha[:, None] == 1, t.exp(), q))
    return s.exp(), q


def follows(log_theta, log_t, alpha):
    """What a step reports of α, in float64 from the definitions; of β, what is drawn from."""
    s, t, weight = (values.double().numpy() for values in (log_theta, log_t, alpha))
    q, log_q, log_z = mixture(s, t, weight)
    common = np.isfinite(s) & np.isfinite(t)
    drawn = np.where(weight[:, None] == 0, np.exp(s), np.where(weight[:, None] == 1, np.exp(t), q))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.where(common, q * np.where(common, t - s, 0.0), 0.0).sum(1)
        return {
            "log_z": log_z,
            "kl_theta": np.maximum(weight * mean - log_z, 0.0),
            "kl_t": np.maximum((weight - 1.0) * mean - log_z, 0.0),
            "ess_theta": 1 / np.where(s > -np.inf, np.exp(2 * s - log_q), 0.0).sum(1),
            "ess_t": 1 / np.where(t > -np.inf, np.exp(2 * t - log_q), 0.0).sum(1),
            "beta": np.minimum(drawn, np.exp(s)).sum(1),
        }


def assert_drawn_from(mass, uniforms, tokens, slack=1e-5):
    """Each token has mass, and its interval of the distribution function holds the number."""
    mass = mass / mass.sum(dim=1, keepdim=True)
    upper = mass.cumsum(dim=1).gather(1, tokens[:, None])[:, 0]
    own = mass.gather(1, tokens[:, None])[:, 0]
    assert (own > 0).all()
    assert (uniforms <= upper + slack).all()
    assert (uniforms >= upper - own - slack).all()


@pytest.mark.parametrize(
    ("alpha", "vocabulary", "temperature"),
    [("kl_symmetry", 61, 1.0), ("kl_symmetry", 333, 0.7), ("fixed-0.3", 150, 1.3)]
    + [pytest.param(alpha, 61, 1.0, marks=pytest.mark.slow) for alpha in OTHERS],
)
def test_solves_as_the_torch_version_does_in_float64(alpha, vocabulary, temperature):
    s, t = logits(vocabulary, seed=vocabulary)
    step = sample(s, t, numbers(len(s)), alpha, temperature)
    log_theta, log_t = (log_probabilities(values.double(), temperature) for values in (s, t))
    solution = solve_alpha(log_theta, log_t, alpha, tolerance=1e-12)
    far = total_variation(
        log_theta, log_t, step.alpha.double().numpy(), solution.alpha.double().numpy()
    ).reshape(len(KINDS), -1)
    # Where the rows differ by 1e-4, α hangs on the last digit of a float32 normaliser.
    slack = np.array([5e-5 if kind == "nearly identical" else 1e-5 for kind in KINDS])
    assert (far.max(axis=1) <= slack).all()
    if alpha == "kl_symmetry":
        there = solve_alpha(log_theta.float(), log_t.float(), alpha).passes
        # The same start and the same stop: rounding makes a pass of difference in few rows.
        assert (step.passes - there).abs().sum() <= 2
    # The rest is compared at the kernel's α: next to a flat optimum two are equally right.
    expected = follows(log_theta, log_t, step.alpha)
    for name, values in expected.items():
        slack = {"beta": 1e-5}.get(name, 1e-4)
        assert getattr(step, name).numpy() == pytest.approx(values, rel=20 * slack, abs=slack), name
    assert not step.disjoint.any()


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)], ids=str
)
def test_reads_half_precision_and_sums_in_float32(dtype):
    s, t = logits(150, seed=3, kinds=("moderate", "sharp", "masked"), dtype=dtype)
    step = sample(s, t, numbers(len(s)), "kl_symmetry")
    log_theta, log_t = log_probabilities(s, 1.0), log_probabilities(t, 1.0)
    solution = solve_alpha(log_theta, log_t, "kl_symmetry")
    far = total_variation(log_theta, log_t, step.alpha.double().numpy(), solution.alpha.double().numpy())
    assert far.max() <= 1e-5
    assert ((step.passes - solution.passes).abs() <= 1).all()
    assert step.beta.tolist() == pytest.approx(solution.beta.tolist(), abs=1e-5)


def test_identical_rows_give_one_half_and_are_always_accepted():
    s, _ = logits(61, kinds=("moderate", "one token"))
    likeliest, accept = s.argmax(dim=1), torch.full((6,), LAST, dtype=torch.float64)
    step = verify(s, s, likeliest, accept, numbers(6), "kl_symmetry")
    assert step.alpha.tolist() == [0.5] * 6
    assert step.token.tolist() == likeliest.tolist()
    assert step.beta.tolist() == pytest.approx([1.0] * 6, abs=1e-5)


# The second fills its blocks.
@pytest.mark.parametrize("vocabulary", [150, pytest.param(2 * BLOCK, marks=pytest.mark.slow)])
@pytest.mark.parametrize("alpha", METHODS)
def test_draws_from_q_by_the_inverse_distribution_function(alpha, vocabulary):
    s, t = logits(vocabulary, seed=5)
    draws = numbers(len(s), 1)
    # Each kind of row has one at either end of the distribution function.
    draws[0::3], draws[1::3] = 0.0, LAST
    step = sample(s, t, draws, alpha)
    assert_drawn_from(exact(s, t, step.alpha)[1], draws, step.token)
    assert not step.accepted.any()


@pytest.mark.parametrize("above", [0.0, 15.0, 40.0])
def test_the_likeliest_token_may_lie_anywhere(above):
    generator = torch.Generator().manual_seed(8)
    s = torch.randn(4, 300, generator=generator)
    s[:, 200] += above + 3.0
    t = s + 0.1 * torch.randn(s.shape, generator=generator)
    step = sample(s, t, numbers(4), "kl_symmetry")
    log_theta, log_t = (log_probabilities(values.double(), 1.0) for values in (s, t))
    expected = solve_alpha(log_theta, log_t, "kl_symmetry", tolerance=1e-12).alpha.numpy()
    assert total_variation(log_theta, log_t, step.alpha.double().numpy(), expected).max() <= 3e-6


def far_apart() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows whose plain sums of exponentials underflow or overflow."""
    generator = torch.Generator().manual_seed(21)
    s, t = torch.randn(2, 5, 333, generator=generator)
    # The likeliest tokens lie far above those of the first block, or these are not there at all.
    s[0, 200:] += 300.0
    t[1, :BLOCK] = -torch.inf
    # What one model is certain of is out of the question for the other.
    s[2:, 10], t[2:, 250] = 300.0, 300.0
    t[3, 30:200] = -torch.inf
    s[4, 40] = 299.0
    return s, t


# The entropy of a row that is as good as certain has no digits in float32.
@pytest.mark.parametrize(
    "alpha", ["kl_symmetry", "fixed-0.3", pytest.param("policy", marks=pytest.mark.slow)]
)
def test_rows_far_apart_keep_their_digits(alpha):
    s, t = far_apart()
    draws = numbers(len(s), 7)
    step = sample(s, t, draws, alpha)
    log_theta, log_t = (log_probabilities(values.double(), 1.0) for values in (s, t))
    solution = solve_alpha(log_theta, log_t, alpha, tolerance=1e-12)
    far = total_variation(log_theta, log_t, step.alpha.double().numpy(), solution.alpha.double().numpy())
    assert far.max() <= 1e-5
    expected = follows(log_theta, log_t, step.alpha)
    for name, values in expected.items():
        assert getattr(step, name).numpy() == pytest.approx(values, rel=2e-3, abs=1e-4), name
    assert_drawn_from(exact(s, t, step.alpha)[1], draws, step.token, slack=1e-4)


def test_has_the_constants_of_the_torch_version():
    kernel_roots = importlib.import_module("winnow.qstar.kernel_roots")
    assert kernel_roots.NEGLIGIBLE.value == roots.NEGLIGIBLE
    assert kernel_roots.EPSILON.value == torch.finfo(torch.float32).eps
    assert kernel_roots.CLEAR.value**2 == pytest.approx(kernel_roots.EPSILON.value)


@pytest.mark.parametrize("alpha", ["kl_symmetry", "teacher"])
def test_accepts_by_the_ratio_and_else_draws_what_the_student_lacks(alpha):
    s, t = logits(150, seed=9)
    s, t = (values.repeat(2, 1) for values in (s, t))
    accept, residual = numbers(len(s), 2), numbers(len(s), 3)
    p = s.double().softmax(dim=1)
    drafted = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(4))[:, 0]
    step = verify(s, t, drafted, accept, residual, alpha)
    p, q = exact(s, t, step.alpha)
    ratio = (q / p).gather(1, drafted[:, None])[:, 0]
    clear = (accept - ratio).abs() > 1e-4
    assert (step.accepted == (accept < ratio))[clear].all()
    assert (step.token == drafted)[step.accepted].all()
    rejected = ~step.accepted
    assert 5 < int(rejected.sum()) < len(s) - 5
    # A row whose whole residual is rounding has no distribution to compare with.
    left = (q - p).clamp_min(0.0)
    rejected &= left.sum(dim=1) > 1e-2
    assert_drawn_from(left[rejected], residual[rejected], step.token[rejected], slack=1e-4)


@pytest.mark.parametrize("alpha", METHODS)
def test_rows_without_a_common_token_take_the_teacher(alpha):
    nothing = -torch.inf
    s = torch.tensor([[1.0, 2.0, nothing, nothing], [1.0, 2.0, 0.0, 1.0]])
    t = torch.tensor([[nothing, nothing, 1.0, 1.0], [1.0, 0.0, 1.0, 3.0]])
    step = sample(s, t, torch.tensor([0.6, 0.6], dtype=torch.float64), alpha)
    solution = mix(log_probabilities(s, 1.0), log_probabilities(t, 1.0), Alpha.parse(alpha))[1]
    assert step.disjoint.tolist() == [True, False]
    assert step.token[0] == 3
    for name in ("alpha", "log_z", "kl_theta", "kl_t", "ess_theta", "ess_t", "beta"):
        assert getattr(step, name)[0] == getattr(solution, name)[0], name
    assert step.alpha[1].item() == pytest.approx(solution.alpha[1].item(), abs=1e-5)


@pytest.mark.parametrize("alpha", ["kl_symmetry", pytest.param("entropy", marks=pytest.mark.slow)])
@pytest.mark.parametrize("broken", [torch.nan, -torch.inf, torch.inf])
def test_a_model_that_gives_no_distribution_gives_no_token(alpha, broken):
    s, t = logits(61, kinds=("moderate",))
    s[0], t[1] = broken, broken
    drafted = torch.tensor([3, 3, 3])
    for step in (
        sample(s, t, numbers(3), alpha),
        verify(s, t, drafted, numbers(3), numbers(3, 1), alpha),
    ):
        assert step.token[:2].tolist() == [-1, -1]
        assert step.lost.tolist() == [1, 2, 0]
        assert not step.accepted[:2].any()
        assert step.alpha[:2].isnan().all()
        assert step.beta[:2].isnan().all()
        assert step.token[2] >= 0


def test_a_row_does_not_depend_on_its_batch_mates():
    s, t = logits(150, seed=11)
    draws = numbers(len(s), 6)
    together = sample(s, t, draws, "kl_symmetry")
    for row in (0, 4, len(s) - 1):
        alone = sample(s[row : row + 1], t[row : row + 1], draws[row : row + 1], "kl_symmetry")
        for name, value in vars(alone).items():
            assert value[0] == getattr(together, name)[row], name


def test_columns_beyond_the_vocabulary_are_not_read():
    s, t = logits(80, kinds=("moderate",))
    wide = sample(s[:, :61], t[:, :61], numbers(3), "kl_symmetry")
    own = sample(s[:, :61].contiguous(), t[:, :61].contiguous(), numbers(3), "kl_symmetry")
    assert torch.equal(wide.alpha, own.alpha)
    assert torch.equal(wide.token, own.token)


def test_says_what_it_leaves_to_torch():
    s, t = logits(61, kinds=("moderate",))
    assert not fused.supports(Alpha.parse("ess_balance"))
    for values, alpha, temperature in (
        (s, "ess_balance", 1.0),
        (s, "kl_symmetry", 0.0),
        (s.double(), "kl_symmetry", 1.0),
    ):
        with pytest.raises(ValueError, match=r"mixture\.mix"):
            sample(values, t, numbers(3), alpha, temperature)
    with pytest.raises(ValueError, match="differ"):
        sample(s, t[:, :5], numbers(3), "kl_symmetry")
    with pytest.raises(ValueError, match="side by side"):
        sample(s.t().contiguous().t(), t, numbers(3), "kl_symmetry")


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from winnow.qstar import kernel
names = ("theta", "t", "theta_stride", "t_stride", "width", "inverse_temperature", "weight", "tolerance",
         "drafted", "accept", "draws", "numbers", "counts")
types = ("*bf16", "*bf16", "i32", "i32", "i32", "fp32", "fp32", "fp32",
         "*i64", "*fp64", "*fp64", "*fp32", "*i64")
constants = {"METHOD": METHOD, "SPECULATIVE": SPECULATIVE, "LIMIT": 62, "BLOCKS": 64, "BLOCK": 4096}
signature = dict(zip(names, types)) | dict.fromkeys(constants, "constexpr")
source = ASTSource(kernel.step_kernel, signature, constants)
built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 16})
print(built.metadata.shared, len(built.asm["cubin"]), sep=",")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("method", "speculative"), [(0, False), (1, False), (1, True), (2, True), (3, True)])
def test_compiles_for_a_gpu_of_the_hopper_generation(method, speculative, tmp_path):
    # The interpreter takes what the compiler refuses: types that change in a loop, for one.
    found = subprocess.run(
        [sys.executable, "-c", f"METHOD, SPECULATIVE = {method}, {speculative}\n{COMPILE}"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "TRITON_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout.split(",")[1]) > 0
