"""Bytes that wait for a reader: a little in memory, the rest in a file without a name."""

import asyncio
from tempfile import SpooledTemporaryFile

IN_MEMORY = 1 << 20  # bytes
PIECE = 1 << 16  # bytes


class Spool:
    """A first-in first-out store whose writer never waits for its reader.

    So a client that sends its whole recording before it reads any of the answer, as most do, is
    served with constant memory.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._ended = False
        self._read = self._written = 0
        self.total = 0
        """Bytes that ever went in."""

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        async with self._lock:
            await asyncio.to_thread(self._append, data)
        self.total += len(data)
        self._changed.set()

    def end(self) -> None:
        """Say that nothing more will come."""
        self._ended = True
        self._changed.set()

    async def filled(self) -> None:
        """Wait until there is something to read, or nothing more will come."""
        while not self._ended and self._read == self._written:
            self._changed.clear()
            await self._changed.wait()

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        await self.filled()
        async with self._lock:
            return await asyncio.to_thread(self._take)

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def _append(self, data: bytes) -> None:
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)

    def _take(self) -> bytes:
        self._file.seek(self._read)
        data = self._file.read(min(PIECE, self._written - self._read))
        self._read += len(data)
        if self._read == self._written:  # the reader keeps up: begin the file anew
            self._read = self._written = 0
            self._file.seek(0)
            self._file.truncate()
        return data
