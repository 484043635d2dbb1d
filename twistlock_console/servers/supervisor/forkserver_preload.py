"""Imported by the fork server alone: keeps its children from loading the main program.

Python's multiprocessing makes every child load the program that started it. Servers
need nothing of it, and loading it would take more time than the rest of their start.
"""

from multiprocessing import spawn


def _skip(_main: str) -> None:
    """Do nothing, instead of loading the main program by name or by path."""


# Names of the interpreter's own: without them servers are slow, and a test says so.
for name in ("_fixup_main_from_name", "_fixup_main_from_path"):
    setattr(spawn, name, _skip)
