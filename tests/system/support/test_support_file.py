"""The file that `twistlock-console support` makes has everything but secrets."""

import tarfile
from pathlib import Path
from stat import S_IMODE

import pytest

from twistlock_console.cli.support import collect, write
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.server import NodeApi, node_app
from twistlock_console.settings import Settings
from twistlock_console.support.bundle import Support

PLANTED = "PLANTED-7391"


def test_one_file_has_it_all_and_no_secret(settings: Settings, tmp_path: Path) -> None:
    """For the owner alone; a silent node's reason is in it; never written over."""
    routes = node_app()
    support = Support(settings, lambda: {"serving": True, "sessionToken": PLANTED})
    support.peers = lambda: ["127.0.0.1", "127.0.0.2"]
    routes.add_url_rule("/v1/support", view_func=support.collect)
    api = NodeApi(settings, routes)
    api.open()
    output = tmp_path / "dump.tar.gz"
    try:
        write(output, collect(settings, ["127.0.0.3"]))
    finally:
        api.close()

    with tarfile.open(output) as tar:
        texts = {
            each.name.removeprefix("twistlock-support/"): tar.extractfile(each)
            for each in tar.getmembers()
        }
        found = {name: file.read().decode() for name, file in texts.items() if file}
    assert S_IMODE(output.stat().st_mode) == 0o600
    assert {name for name in found if name.startswith("127.0.0.1/")} == {
        "127.0.0.1/log.txt",
        "127.0.0.1/settings.json",
        "127.0.0.1/status.json",
        "127.0.0.1/versions.json",
    }
    assert "does not answer" in found["127.0.0.2/err.txt"]
    assert "127.0.0.3/err.txt" in found
    assert PLANTED not in "".join(found.values())
    with pytest.raises(Refused, match="cannot be written"):
        write(output, {})


def test_a_node_that_does_not_run_leaves_its_log(settings: Settings) -> None:
    """Why it ended is what is looked for."""
    told = collect(settings)["127.0.0.1"]

    assert set(told) == {"err", "log", "versions"}
