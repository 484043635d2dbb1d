"""What the pages ask of the process that holds the Defenders' connections.

It looks for orders twice a second, carries them out and deletes them.
"""

from collections.abc import Iterable
from typing import Any, Literal

from pymongo.database import Database

COLLECTION = "defender_orders"
Order = Literal["scan", "leave"]


def give_order(database: Database[dict[str, Any]], defender: str, order: Order) -> None:
    """Ask for a *scan* by the Defender, or that it be sent away for *leave*."""
    database[COLLECTION].insert_one({"defender": defender, "order": order})


def forget_orders(database: Database[dict[str, Any]], taken: Iterable[object]) -> None:
    """Delete the orders with these `_id`s: they were taken."""
    database[COLLECTION].delete_many({"_id": {"$in": list(taken)}})
