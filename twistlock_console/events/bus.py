"""Publish and subscribe to typed events, over blinker signals."""

import logging
from collections.abc import Callable
from typing import TypeVar

from blinker import ANY, Namespace, Signal

E = TypeVar("E")
log = logging.getLogger(__name__)


class Bus:
    """Delivers each event to the receivers of exactly its class.

    Receivers are referenced strongly, and one that fails does not stop the others.
    """

    def __init__(self) -> None:
        self._signals = Namespace()

    def subscribe(self, kind: type[E], receiver: Callable[[E], object]) -> None:
        """Call *receiver* with each event of exactly this *kind*."""
        self._signal(kind).connect(receiver, weak=False)

    def publish(self, event: object) -> None:
        """Call every receiver of *event*, on this thread."""
        for receiver in self._signal(type(event)).receivers_for(ANY):
            try:
                receiver(event)
            except Exception:
                log.exception("a receiver of %s failed", type(event).__name__)

    def _signal(self, kind: type[object]) -> Signal:
        return self._signals.signal(f"{kind.__module__}.{kind.__qualname__}")
