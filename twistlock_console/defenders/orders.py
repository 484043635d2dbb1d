"""What the pages ask of the process that holds the Defenders' connections.

It looks for orders twice a second, carries them out and deletes them.
"""

from typing import Any, Literal

from pymongo.database import Database

COLLECTION = "defender_orders"
Order = Literal["scan", "leave"]


def give_order(database: Database[dict[str, Any]], defender: str, order: Order) -> None:
    """Ask for a *scan* by the Defender, or that it be sent away for *leave*."""
    database[COLLECTION].insert_one({"defender": defender, "order": order})


def take_orders(database: Database[dict[str, Any]]) -> list[tuple[str, str]]:
    """Give the orders, as (Defender, order), that nobody has carried out."""
    found = list(database[COLLECTION].find().limit(1000))
    if found:
        database[COLLECTION].delete_many({"_id": {"$in": [d["_id"] for d in found]}})
    return [(str(each["defender"]), str(each["order"])) for each in found]
