"""The memory that requests take, counted per client.

Pure.
"""

from collections.abc import Container


class MemoryBudget:
    """Bytes that clients hold: at most *most* in all, *most_per_client* each.

    Only the first bound holds for *exempt* clients.
    """

    def __init__(self, most: int, most_per_client: int, exempt: Container[str]) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._exempt = exempt
        self._clients: dict[str, int] = {}
        self.total = 0

    def change(self, key: str, by: int) -> bool:
        """Count *by* bytes more, or less, of the client *key*.

        Returns:
            False if that was the one more byte that is too many.

        """
        size = self._clients.get(key, 0) + by
        self.total += by
        if size:
            self._clients[key] = size
        else:
            self._clients.pop(key, None)
        if by <= 0:
            return True
        greedy = size > self._most_per_client and key not in self._exempt
        return not greedy and self.total <= self._most
