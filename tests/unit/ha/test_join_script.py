"""The parts of the Console that the join script carries to a host without one."""

from importlib.util import find_spec
from pathlib import Path

from plugins.ha.web.join_script import CHECKER_MODULES, CHECKER_PACKAGE


def test_the_whole_check_of_folders_is_carried() -> None:
    """A module that the package gains is carried too; one that it loses is not."""
    spec = find_spec(CHECKER_PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    modules = Path(spec.origin).parent.glob("*.py")

    assert sorted(module.stem for module in modules) == sorted(CHECKER_MODULES)
