"""The limit on open files (RLIMIT_NOFILE) of this process."""

import resource

MAX_OPEN_FILES = 1_048_576
"""What is reckoned with where there is no limit."""


def raise_file_limit() -> int:
    """Raise the soft limit to the hard limit, and return it.

    A service manager often starts programs with a soft limit of 1,024, which a few
    hundred connections use up.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else hard
