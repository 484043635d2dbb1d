"""The right to the API call of the demo."""

from twistlock_console.accounts.rights import Area, Right

WRITES = Area(
    "Writes of the demo",
    (Right.CHANGE, Right.NONE, Right.NONE, Right.NONE),
    documented=False,
)
