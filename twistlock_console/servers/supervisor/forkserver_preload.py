"""Imported by the warm process alone: keeps its children from loading the main program.

The interpreter has every child load the program that asked for it, command line and
all. Servers need nothing of it, and it would cost them more time than all the rest.
"""

from multiprocessing import spawn


def _skip(_main: str) -> None:
    """Stand in for what loads the main program, by name or by path."""


# Names of the interpreter's own: without them servers are slow, and a test says so.
for name in ("_fixup_main_from_name", "_fixup_main_from_path"):
    setattr(spawn, name, _skip)
