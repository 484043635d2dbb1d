"""The parts of the demo's screen: nodes, writes, the last failover, what happened."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.events import (
    HTTPS_PORT,
    LOAD_BALANCER,
    Answer,
    Event,
    Failover,
    NodeEnded,
    Picture,
    Progress,
    Ready,
    RoleSeen,
)

ROLE_STYLES = {"PRIMARY": "bold green", "SECONDARY": "cyan", "UNAVAILABLE": "red"}
BAR_CELLS = 40


def nodes(picture: Picture) -> RenderableType:
    """Draw the table of nodes."""
    table = Table(expand=True)
    for heading in ("Node", "Role", "Process", "Why"):
        table.add_column(heading)
    for node in picture.nodes:
        process = f"{node.process}, cut off" if node.cut else node.process
        role = Text(node.role, style=ROLE_STYLES.get(node.role, "yellow"))
        table.add_row(node.address, role, process, node.reason)
    return table


def writes_of(picture: Picture) -> RenderableType:
    """Say where users come in, and what they stored."""
    writes = picture.writes
    balanced = picture.entrance == (LOAD_BALANCER,)
    way = "load balancer" if balanced else "no load balancer; any of"
    links = ", ".join(f"https://{at}:{HTTPS_PORT}" for at in picture.entrance)
    return Text(
        f"Come in by {links} ({way}), now served by {writes.by or 'nobody'}\n"
        f"Stored writes: {writes.stored}, {writes.per_second:.0f} in the last second, "
        f"{writes.lost} lost"
    )


def timeline(failover: Failover) -> RenderableType:
    """Draw the phases of *failover* one after the other."""
    title = (
        f"Last failover: {failover.before} to {failover.after} in "
        f"{failover.seconds:.2f} s"
    )
    table = Table.grid(padding=(0, 1))
    passed = 0.0
    whole = failover.seconds or 1.0
    for name, seconds in failover.phases.items():
        begin, end = (
            round(BAR_CELLS * min(at / whole, 1.0)) for at in (passed, passed + seconds)
        )
        bar = Text(" " * begin + "█" * max(1, end - begin), style="magenta")
        table.add_row(name, f"{seconds:.3f} s", bar)
        passed += seconds
    return Panel(Group(Text(failover.reason), table), title=title)


def sentence(event: Event) -> str:
    """Say what happened, for people."""
    match event:
        case Progress(step):
            return f"… {step}"
        case Ready(seconds):
            return f"Ready after {seconds:.1f} s."
        case RoleSeen(address, role, reason):
            return f"{address} is {role}: {reason}"
        case NodeEnded(address, code):
            return f"{address} ended by itself (code {code}); `start {address}`"
        case Failover():
            return (
                f"Writes go on after {event.seconds:.2f} s, at {event.after}; "
                f"{event.lost} lost."
            )
        case Answer():
            return f"{event.command}: {event.message}"
