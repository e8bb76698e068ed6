"""rosbags' reader, but one that checks the files, and reads on past damage in those of MCAP.

rosbags ends at the first damaged chunk, though the others are intact, and believes a damaged
summary, whose index then hides chunks. Checksums are CRC-32, 0 where the recorder wrote none:
https://mcap.dev/spec. rosbags checks those of the chunks; those of the summary, and of data without
chunks, are checked here.
"""

from __future__ import annotations

import heapq
import logging
import struct
from binascii import crc32
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, Msg, msgsrc
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

CHUNK, DATA_END, FOOTER = 0x06, 0x0F, 0x02
CHUNK_HEAD = struct.Struct("<BQQQQ")  # operation, length, first and last time, uncompressed size
DATA_END_RECORD = struct.Struct("<BQI")  # operation, length, checksum
FOOTER_RECORD = struct.Struct("<BQQQI8x")  # operation, length, summary's start, offsets', checksum
CHECKSUM_BYTES = 4
MAGIC_BYTES = 8
BLOCK_BYTES = 2**20
ANY_TIME = (0, 2**64)

logger = logging.getLogger(__name__)


class CheckedMcapReader(McapReader):
    """Reads the intact chunks of a file; ``lost`` counts what the others held, by topic.

    ``open`` raises ReaderError where the summary is not as it was written.
    """

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self._losses: dict[int, Counter[str]] = {}  # by the chunk's place in the file [bytes]

    @property
    def lost(self) -> Counter[str]:
        """How many messages of each topic were in the damaged chunks that were met by now."""
        return sum(self._losses.values(), Counter())

    def open(self) -> None:
        """Open the file."""
        with self.path.open("rb") as file:
            data_end = _check_summary(file, str(self.path))
        super().open()
        if not self.chunks and data_end:
            with self.path.open("rb") as file:
                self._check_data(file, data_end)

    def messages(
        self,
        connections: Collection[Connection],
        start: int | None = None,
        stop: int | None = None,
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Yield connection, time [ns] and bytes of messages in the order of recording."""
        if not self.chunks or start is not None or stop is not None:
            yield from super().messages(connections, start, stop)
            return
        channels = {connection.id: connection for connection in connections}
        sources = [
            self._intact(chunk, channels)
            for chunk in self.chunks
            if not chunk.channel_count or not channels.keys().isdisjoint(chunk.channel_count)
        ]
        for time_ns, _, connection, data in heapq.merge(*sources, key=itemgetter(0)):
            if connection is not None and data is not None:
                yield connection, time_ns, data

    def _intact(self, chunk: ChunkInfo, channels: dict[int, Connection]) -> Iterator[Msg]:
        """Yield when the chunk begins, and its messages, or none where it is damaged."""
        assert self.bio
        source = msgsrc(chunk, channels, *ANY_TIME, self.bio)
        yield next(source)  # nothing is read before the merge has come to the chunk
        try:
            _check_head(self.bio, chunk)
            yield from source
        except Exception as error:  # whatever the parsing of damaged bytes trips over
            self._lose(chunk, str(error) or type(error).__name__)

    def _lose(self, chunk: ChunkInfo, reason: str) -> None:
        if not self._losses:
            logger.warning(
                "%s is damaged at byte %d: %s; the messages of that chunk are lost (those of "
                "further ones are counted); copy the file again from where it is whole",
                self.path, chunk.chunk_start_offset, reason.rstrip("."),
            )
        loss = self._losses[chunk.chunk_start_offset] = Counter()
        for connection in self.connections:
            loss[connection.topic] += max(0, chunk.channel_count.get(connection.id, 0))

    def _check_data(self, file: BinaryIO, end: int) -> None:
        """Say it where the bytes before the DataEnd record at ``end`` have another checksum."""
        file.seek(end)
        operation, _, checksum = DATA_END_RECORD.unpack(file.read(DATA_END_RECORD.size))
        if operation == DATA_END and checksum and _checksum(file, 0, end) != checksum:
            logger.warning("%s is damaged: its data has another checksum than when it was written; "
                           "some messages are wrong or lost", self.path)


class CheckedSqlite3Reader(Sqlite3Reader):
    """Reads a database, and says it where its last messages are in another file, as yet."""

    def open(self) -> None:
        """Open the database."""
        super().open()
        log = Path(f"{self.path}-wal")
        if log.exists() and log.stat().st_size:
            logger.warning("%s holds messages that are not read: the recorder was killed; "
                           "'sqlite3 %s \"PRAGMA wal_checkpoint(TRUNCATE)\"' adds them to the bag",
                           log, self.path)


class CheckedDirectoryReader(DirectoryReader):
    """Reads a folder with metadata.yaml."""

    STORAGE_PLUGINS: Mapping[str, Any] = {
        "mcap": CheckedMcapReader, "sqlite3": CheckedSqlite3Reader
    }


class CheckedReader(Reader):
    """Reads a folder or a file."""

    STORAGE_PLUGINS: Mapping[str, Any] = {
        "dir": CheckedDirectoryReader, ".mcap": CheckedMcapReader, ".db3": CheckedSqlite3Reader
    }

    @property
    def lost(self) -> Counter[str]:
        """How many messages of each topic were in the damaged chunks that were met by now."""
        storage = self.storage
        parts = storage.storages if isinstance(storage, DirectoryReader) else [storage]
        found = (part.lost for part in parts if isinstance(part, CheckedMcapReader))
        return sum(found, Counter())


def _check_summary(file: BinaryIO, path: str) -> int:
    """Return where the DataEnd record begins [bytes], 0 where the file's end is no MCAP's.

    Raises ReaderError where the summary, which has the index of the chunks, is damaged.
    """
    size = file.seek(0, 2)
    footer_at = size - FOOTER_RECORD.size
    if footer_at < DATA_END_RECORD.size:
        return 0
    file.seek(footer_at)
    operation, _, start, _, checksum = FOOTER_RECORD.unpack(file.read(FOOTER_RECORD.size))
    if operation != FOOTER or start > footer_at:
        return 0
    end = size - MAGIC_BYTES - CHECKSUM_BYTES
    if start and checksum and _checksum(file, start, end) != checksum:
        raise ReaderError(f"the summary of {path} has another checksum than when it was written")
    return int(start or footer_at) - DATA_END_RECORD.size


def _check_head(file: BinaryIO, chunk: ChunkInfo) -> None:
    """Raise ReaderError where a chunk is not what the index says: its checksum may be gone, too."""
    file.seek(chunk.chunk_start_offset)
    operation, *_, size = CHUNK_HEAD.unpack(file.read(CHUNK_HEAD.size))
    if operation != CHUNK or size != chunk.uncompressed_size:
        raise ReaderError("no chunk of the size that the index says")


def _checksum(file: BinaryIO, start: int, end: int) -> int:
    """Return the CRC-32 of the bytes from ``start`` to before ``end``."""
    file.seek(start)
    checksum = 0
    for at in range(start, end, BLOCK_BYTES):
        checksum = crc32(file.read(min(BLOCK_BYTES, end - at)), checksum)
    return checksum
