"""Damaged files: what is intact is read, and what is lost is said and counted."""

import sqlite3
import struct

import lz4.frame
import pytest
from recorded_bag import (
    STORE,
    add_checksums,
    mcap_records,
    raw_image,
    record,
    unchunked,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import zstd

from flashvggt_ros.sensors.bag_reader import Bag, BagError
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(44))
STAMPS = [frame.stamp_ns for frame in WORLD.frames]
RAW = "/camera/image_raw"
CHUNK, CHUNK_INDEX, STATISTICS = 0x06, 0x08, 0x0B


@pytest.fixture
def file(tmp_path):
    """An MCAP of three chunks, with checksums."""
    (path,) = record(tmp_path / "bag", WORLD.frames).glob("*.mcap")
    add_checksums(path)
    assert len(places(path, CHUNK)) == 3
    return path


def places(file, operation):
    content = file.read_bytes()
    return [(start, end) for start, end, found in mcap_records(content) if found == operation]


def overwrite(file, start, replacement):
    content = bytearray(file.read_bytes())
    assert content[start : start + len(replacement)] != replacement
    content[start : start + len(replacement)] = replacement
    file.write_bytes(content)


def images(bag):
    return [message.log_ns for message in bag.messages([RAW])]


def second_chunk_stamps(file):
    start, _ = places(file, CHUNK)[1]
    first, last = struct.unpack_from("<QQ", file.read_bytes(), start + 9)
    return {stamp for stamp in STAMPS if first <= stamp <= last}


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_damaged_chunk_is_left_out_said_and_counted(file, caplog, is_folder):
    lost = second_chunk_stamps(file)
    start, end = places(file, CHUNK)[1]
    overwrite(file, (start + end) // 2, b"\xff\0\xff\0")
    with Bag(file.parent if is_folder else file) as bag:
        assert images(bag) == [stamp for stamp in STAMPS if stamp not in lost]
        assert bag.lost[RAW] == len(lost) > 10
    assert bag.lost[RAW] == len(lost)
    assert f"bag.mcap is damaged at byte {start}: Chunk checksum mismatch; " in caplog.text
    assert f"{len(lost)} messages of {RAW} could not be read" in caplog.text


def test_what_was_lost_by_then_is_counted_where_reading_ends_early(file):
    start, end = places(file, CHUNK)[0]
    overwrite(file, (start + end) // 2, b"\xff\0\xff\0")
    with Bag(file) as bag:
        next(messages := bag.messages([RAW]))
        assert 10 < bag.lost[RAW] < 30
        messages.close()


def test_a_chunk_whose_beginning_was_zeroed_is_not_believed(file, caplog):
    start, _ = places(file, CHUNK)[1]
    overwrite(file, start, bytes(49))  # its checksum is among it
    with Bag(file) as bag:
        assert 10 < 44 - len(images(bag)) == bag.lost[RAW]
    assert "no chunk of the size that the index says" in caplog.text


def test_many_damaged_chunks_are_said_once(file, caplog):
    for start, end in places(file, CHUNK):
        overwrite(file, (start + end) // 2, b"\xff\0\xff\0")
    with Bag(file) as bag:
        assert images(bag) == []
        assert bag.lost[RAW] == 44
    assert caplog.text.count("is damaged at byte") == 1


@pytest.mark.parametrize(("algorithm", "damage"), [("zstd", 4096), ("lz4", 300_000)])
def test_a_compressed_chunk_that_cannot_be_unpacked_is_left_out(tmp_path, algorithm, damage):
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.storage.compression = algorithm
        writer.storage.compressor = {"lz4": lz4.frame, "zstd": zstd}[algorithm].compress
        connection = writer.add_connection(RAW, "sensor_msgs/msg/Image", typestore=STORE)
        for frame in WORLD.frames:
            raw = STORE.serialize_cdr(raw_image(frame), connection.msgtype)
            writer.write(connection, frame.stamp_ns, raw)
    (path,) = (tmp_path / "bag").glob("*.mcap")
    lost = second_chunk_stamps(path)
    start, end = places(path, CHUNK)[1]
    overwrite(path, (start + end) // 2, bytes(min(damage, (end - start) // 3)))
    with Bag(path) as bag:
        assert images(bag) == [stamp for stamp in STAMPS if stamp not in lost]
        assert bag.lost[RAW] == len(lost)


@pytest.mark.parametrize("operation", [CHUNK_INDEX, STATISTICS])
def test_a_damaged_summary_is_refused_with_the_remedy(file, operation):
    start, _ = places(file, operation)[0]
    overwrite(file, start + 9 + 6, b"\x7f\x01")
    with pytest.raises(BagError, match=r"summary of \S*bag\.mcap has another checksum.*recover"):
        Bag(file)


def test_a_wrong_time_in_an_index_without_a_checksum_hides_no_messages(tmp_path):
    (path,) = record(tmp_path / "bag", WORLD.frames).glob("*.mcap")
    start, _ = places(path, CHUNK_INDEX)[1]
    overwrite(path, start + 9, struct.pack("<QQ", STAMPS[-1], STAMPS[-1]))
    with Bag(path) as bag:
        assert sorted(images(bag)) == STAMPS


def test_damaged_data_without_chunks_are_said(tmp_path, caplog):
    (path,) = record(tmp_path / "bag", WORLD.frames).glob("*.mcap")
    add_checksums(unchunked(path))
    with Bag(path) as bag:
        assert images(bag) == STAMPS
    assert not caplog.text
    overwrite(path, path.stat().st_size // 2, b"\xff\0\xff\0")
    with Bag(path) as bag:
        assert images(bag) == STAMPS
    assert "its data has another checksum" in caplog.text


def test_messages_that_the_metadata_counts_and_no_file_has_are_lost(tmp_path, caplog):
    path = record(tmp_path / "bag", WORLD.frames)
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(f"name: {RAW}", "name: /camera/image_rax"))
    with Bag(path) as bag:
        assert list(bag.messages(["/camera/image_rax"])) == []
        assert bag.lost["/camera/image_rax"] == 44
    assert "44 messages of /camera/image_rax could not be read" in caplog.text


@pytest.mark.parametrize("is_folder", [False, True])
def test_messages_that_a_killed_recorder_left_beside_the_database_are_said(
    tmp_path, caplog, is_folder
):
    path = record(tmp_path / "bag", WORLD.frames[:4], storage="sqlite3")
    (database,) = path.glob("*.db3")
    with Bag(path):
        assert not caplog.text
    recorder = sqlite3.connect(database)
    recorder.executescript("PRAGMA journal_mode = WAL; DELETE FROM messages;")
    with Bag(path if is_folder else database) as bag:
        assert len(images(bag)) == 4
    recorder.close()
    assert "bag.db3-wal holds messages that are not read" in caplog.text


def test_what_chunks_hold_of_one_time_comes_in_the_order_of_recording(tmp_path):
    frames = WORLD.frames[:40]
    pairs = [(RAW, STAMPS[number // 2], raw_image(frame)) for number, frame in enumerate(frames)]
    with Bag(write_bag(tmp_path / "bag", pairs)) as bag:
        stamps = [bag.decode(message).header.stamp for message in bag.messages([RAW])]
    assert [stamp.sec * 10**9 + stamp.nanosec for stamp in stamps] == STAMPS[:40]
