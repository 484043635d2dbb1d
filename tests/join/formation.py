"""How a cluster is formed: with a browser, and with what the manual says."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.browser.remote_visitor import visitor_on
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.join.asking import ask_to_join
from tests.join.bare_host import BareHost
from tests.join.installed import CLI, Site

PICTURES = Path("build/pictures")
FORMING = PICTURES / "forming"


@dataclass(frozen=True, slots=True)
class Formed:
    """The hosts; what the join commands printed; why APPLY was refused before.

    And the page that showed the last join command, as its HTML.
    """

    site: Site
    printed: dict[str, str]
    refusal: str
    page: str


def form(site: Site, release: Path) -> Formed:
    """Copy commands off the page, run them on two hosts, APPLY, wait for SECONDARY.

    Everything is really installed, from the tarball alone.
    """
    primary, *others = (site.host(name, patient=True) for name in ("h1", "h2", "h3"))
    site.install_primary(release, primary, CONSOLE_SAN="one.example.com")
    printed = {}
    with visitor_on(site.client, FORMING) as visitor, ThreadPoolExecutor() as pool:
        visitor("sign_up", primary.address, USERNAME, PASSWORD)
        ask_to_join(site, site.host("h4"))
        refusal = primary.bash(f"{CLI} ha apply", check=False)
        commands = [visitor("join_command", primary.address) for _ in others]
        page = visitor("source")
        ran = list(pool.map(BareHost.bash, others, commands))
        visitor("remove", primary.address, site.host("h4").address)
        for host, said in zip(others, ran, strict=True):
            visitor("open_cluster", primary.address)
            visitor("wait_for_state", host.address, "REQUEST_JOIN")
            assert said.splitlines()[-1] == visitor("fingerprint", host.address)
            printed[host.address] = said
        visitor("apply", primary.address)
        for host in others:
            visitor("wait_for_state", host.address, "SECONDARY")
    site.wait_whole(primary)
    for host in site.hosts.values():
        host.patient = False
    return Formed(site, printed, refusal, page)
