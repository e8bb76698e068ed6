import pytest
import torch

from flashvggt_ros.model.pose_memory import PoseMemory


def poses_of(frames: tuple[int, ...], chunk: int) -> torch.Tensor:
    """Poses (1, k, 9) that tell the frame and the chunk that they are of."""
    values = torch.tensor([[frame, chunk] for frame in frames], dtype=torch.float32)
    return torch.cat([values, torch.zeros(len(frames), 7)], dim=1)[None]


def tokens_of(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count, dtype=torch.float32)[None, :, None]


def test_without_a_window_all_frames_are_refreshed():
    memory = PoseMemory()
    for chunk in range(3):
        tokens = memory.append(tokens_of(4 * chunk, 4))
        poses = memory.complete(poses_of(memory.frames, chunk))
    assert tokens.flatten().tolist() == list(range(12))
    assert (poses[0, :, 1] == 2).all()


@pytest.mark.parametrize(("window", "size"), [(8, 3), (16, 4), (5, 4), (4, 4), (32, 1), (1, 2)])
def test_a_window_keeps_the_newest_frames_the_first_one_and_even_anchors(window, size):
    memory = PoseMemory(window)
    last_refresh: dict[int, int] = {}
    for chunk in range(100):
        tokens = memory.append(tokens_of(size * chunk, size))
        frames = memory.frames
        poses = memory.complete(poses_of(frames, chunk))

        assert tokens.flatten().tolist() == list(frames)
        assert len(frames) <= max(window, size + 1)
        assert frames[0] == 0
        assert frames[-size:] == tuple(range(size * chunk, size * chunk + size))
        last_refresh |= dict.fromkeys(frames, chunk)
        assert poses[0, :, 0].tolist() == list(range(size * (chunk + 1)))
        assert poses[0, :, 1].tolist() == [last_refresh[frame] for frame in sorted(last_refresh)]
    old = torch.tensor([frame for frame in frames if frame < size * 100 - window])
    assert old.diff().unique().numel() <= 1


def test_poses_may_be_decoded_twice():
    memory = PoseMemory(4)
    for chunk in range(4):
        memory.append(tokens_of(2 * chunk, 2))
        poses = memory.complete(poses_of(memory.frames, chunk))
    assert torch.equal(memory.complete(poses_of(memory.frames, 3)), poses)


def test_a_frame_that_was_never_decoded_cannot_leave():
    memory = PoseMemory(4)
    memory.append(tokens_of(0, 3))
    with pytest.raises(ValueError, match="before its pose was decoded"):
        memory.append(tokens_of(3, 3))


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="camera_window is -1"):
        PoseMemory(-1)


def test_the_model_is_exact_until_the_window_is_full_and_complete_after(make_model, images):
    model = make_model()
    exact, windowed = model.new_cache(), model.new_cache(camera_window=4)
    for number, chunk in enumerate(images.split(2)):
        expected = model.forward_chunk(chunk, exact)
        ours = model.forward_chunk(chunk, windowed)
        assert torch.equal(ours.depth, expected.depth)
        assert ours.pose_enc.shape == expected.pose_enc.shape
        if number < 2:
            assert torch.equal(ours.pose_enc, expected.pose_enc)
    assert not torch.equal(ours.pose_enc, expected.pose_enc)
    torch.testing.assert_close(ours.pose_enc, expected.pose_enc, rtol=0.2, atol=0.2)


def test_a_sequence_whose_poses_are_decoded_once_needs_all_its_frames(make_model, images):
    model = make_model()
    with pytest.raises(ValueError, match="leave camera_window out"):
        model(images, chunk_size=2, cache=model.new_cache(camera_window=4))
