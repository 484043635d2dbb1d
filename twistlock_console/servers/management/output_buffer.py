"""The bytes of an answer, from the thread that makes it to the loop that sends it."""

import threading
from collections import deque
from collections.abc import Callable


class OutputBuffer:
    """What a client is to be sent; gunicorn's Response takes it for a socket.

    A thread adds, the main loop takes. *on_data* is called, on the adding thread,
    whenever ``flush`` finds something to send.
    """

    def __init__(self, on_data: Callable[[], object] = lambda: None) -> None:
        self._on_data = on_data
        self._pieces: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self.size = 0

    def sendall(self, data: bytes) -> None:
        """Add *data*; raises ConnectionAbortedError once the client is gone."""
        if self._closed:
            raise ConnectionAbortedError("the client is gone")
        with self._lock:
            self._pieces.append(data)
            self.size += len(data)

    send = sendall

    def flush(self) -> None:
        """Have the main loop send what there is."""
        if self.size:
            self._on_data()

    def take(self, most: int) -> bytes:
        """Return up to *most* bytes or the first piece, whichever is more."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            while self._pieces and (not size or size + len(self._pieces[0]) <= most):
                taken.append(self._pieces.popleft())
                size += len(taken[-1])
            self.size -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        """Drop everything, and refuse more."""
        self._closed = True
        with self._lock:
            self._pieces.clear()
            self.size = 0
