"""Rows on their way from threads to the coroutine that waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable

from app.workshop import Row


class HandOver:
    """Takes rows from any thread and gives them out in the event loop it was made in, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rows: asyncio.Queue[Row | BaseException | None] = asyncio.Queue()
        self.is_closed = False

    def put(self, row: Row | BaseException | None) -> None:
        """`next` will return the row, raise the exception, or for None tell that no more rows come."""
        if self.is_closed:
            return
        try:
            self._loop.call_soon_threadsafe(self._rows.put_nowait, row)
        except RuntimeError:  # the loop has ended, so nobody waits for the row
            self.is_closed = True

    async def next(self) -> Row | None:
        """The next row; None at the end. Raises what a thread handed over instead of a row."""
        row = await self._rows.get()
        if isinstance(row, BaseException):
            raise row
        return row

    async def of_thread(
        self, pump: Callable[[], None], *, name: str, stop: Callable[[], None]
    ) -> AsyncGenerator[Row, None]:
        """The rows that `pump` puts here from a thread of its own, which is called `name`, until it puts None.

        However that ends, nothing more is taken, and `stop` is called for what may still be going on.
        """
        threading.Thread(target=pump, name=name, daemon=True).start()
        try:
            while (row := await self.next()) is not None:
                yield row
        finally:
            self.close()
            stop()

    def close(self) -> None:
        """What threads still put is dropped."""
        self.is_closed = True
