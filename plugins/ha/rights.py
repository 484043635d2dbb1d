"""The rights that high availability adds to the table of the core."""

from twistlock_console.accounts.rights import Area, Right

_, R, C = Right

HIGH_AVAILABILITY = Area("High availability", (C, R, R, R))
CONSOLE_SCRIPTS = Area(
    "Script and release with which a host joins", (C, C, Right.NONE, C)
)
