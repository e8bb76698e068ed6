"""The training pass computes what the robot computes, and its loss can be brought down."""

import numpy as np
import pytest
import torch

from flashvggt_ros.model.flashvggt import FlashVGGT, GradientCache
from flashvggt_ros.scene.textures import Textures
from training.checkpoints import join_parts, load_into, mean_of, save_parts
from training.fast_blocks import use_fast_blocks
from training.optimizer import Optimizer, orthogonalize
from training.sequences import Motion, ScenePool
from training.student import Student, initialize
from training.train import tiny_config


@pytest.fixture(scope="module")
def batch():
    textures = Textures.procedural(np.random.default_rng(0), each=1)
    pool = ScenePool(32, textures, 1, workers=0)
    generator = torch.Generator().manual_seed(4)
    return pool.draw(2, 4, (56, 56), Motion(), generator, samples=1, shadows=False)


def student():
    torch.manual_seed(0)
    result = Student(FlashVGGT(tiny_config()))
    initialize(result)
    return result


@pytest.mark.parametrize("size", [(56, 56), (70, 56)])  # even and odd grids of patches
def test_fast_blocks_in_chunks_equal_inference_in_chunks(size):
    model = student().model.eval()
    images = torch.rand(1, 4, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        cache = model.new_cache()
        for chunk in images.split(2, 1):
            expected = model.forward_chunk(chunk, cache)
        use_fast_blocks(model, is_compiled=False)
        memory = GradientCache()
        for chunk in images.split(2, 1):
            result = model.decode(model.encode_chunk(chunk, memory))
    torch.testing.assert_close(result.pose_enc, expected.pose_enc, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.depth, expected.depth, atol=1e-5, rtol=1e-4)


def test_every_trainable_parameter_takes_part_in_the_loss(batch):
    learner = student()
    total, _ = learner(batch, [2, 2], 2)
    total.backward()
    without = [name for name, p in learner.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_fresh_auxiliary_heads_can_learn_without_moving_the_model(batch):
    alone, whole = student(), student()
    for learner, share in ((alone, 0.0), (whole, 1.0)):
        torch.manual_seed(1)
        total, parts = learner(batch, [2, 2], 2, share)
        total.backward()
    assert alone.match.weight.grad.equal(whole.match.weight.grad)
    assert alone.point.weight.grad.equal(whole.point.weight.grad)
    # The first frame's tokens reach poses and depth as well: what is left is their gradient.
    block = alone.model.aggregator.global_blocks[-1].mlp.fc2.weight
    other = whole.model.aggregator.global_blocks[-1].mlp.fc2.weight
    assert (block.grad - other.grad).norm() > 1e-3 * other.grad.norm()
    learner = student()
    torch.manual_seed(1)
    _, parts = learner(batch, [2, 2], 2, 0.0)
    sum(parts[name] for name in ("points", "matching", "matching_middle")).backward()
    reached = [name for name, p in learner.model.named_parameters()
               if p.grad is not None and p.grad.abs().max() > 0]
    assert reached == []


def test_auxiliary_heads_can_have_a_rate_of_their_own(batch):
    learner = student()
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    learner(batch, [4], 2)[0].backward()
    Optimizer(learner, weight_decay=0.0).step(0.0, 0.0, 1e-3)
    moved = {name for name, p in learner.named_parameters() if not p.equal(before[name])}
    assert moved == {name for name in before if not name.startswith("model.")}


def test_a_few_steps_on_one_batch_bring_the_loss_down(batch):
    learner = student()
    use_fast_blocks(learner.model, is_compiled=False)
    optimizer = Optimizer(learner)
    losses = []
    for _ in range(12):
        total, _ = learner(batch, [4], 4)
        losses.append(float(total.detach()))
        total.backward()
        optimizer.step(5e-3, 2e-3, 2e-3)
        learner.zero_grad()
    assert min(losses[-3:]) < 0.75 * losses[0]


def test_orthogonalized_matrices_have_singular_values_near_one():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 32, 32), (2, 16, 64), (2, 64, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=generator)))
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_weights_survive_parts_and_joining(tmp_path, monkeypatch):
    monkeypatch.setattr("training.checkpoints.PART_BYTES", 300_000)
    model = student().model
    save_parts(model.state_dict(), model.config, tmp_path, "mini")
    parts = sorted(tmp_path.glob("mini.*.safetensors"))
    assert len(parts) > 2
    digest = join_parts(parts, tmp_path / "joined.safetensors")
    assert (tmp_path / "joined.safetensors.sha256").read_text().startswith(digest)
    other = FlashVGGT(tiny_config())
    load_into(other, tmp_path / "joined.safetensors")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, atol=2e-3, rtol=2e-3)


def test_the_mean_of_checkpoints_lies_between_them(tmp_path):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(FlashVGGT(tiny_config()))
        save_parts(models[-1].state_dict(), tiny_config(), tmp_path, f"run{seed}")
    paths = [tmp_path / f"run{seed}.0.safetensors" for seed in (0, 1)]
    mean_of(paths, tmp_path / "mean.safetensors")
    result = FlashVGGT(tiny_config())
    load_into(result, tmp_path / "mean.safetensors")
    states = [model.state_dict() for model in models]
    for name, value in result.state_dict().items():
        torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2,
                                   atol=2e-3, rtol=2e-3)
