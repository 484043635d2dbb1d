"""A host with the toy release, its installer, and what is on its disk."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.laboratory import Host
from tests.installation.toy_release import unpack_toy
from tests.join.bare_host import BareHost

DATA, BACKUP, PROGRAMS = (
    "/var/lib/twistlock",
    "/var/lib/twistlock-backup",
    "/opt/twistlock",
)
STOPS = (
    "Blocked Twistlock Console installation",
    "The Console cannot be installed here",
    "Twistlock Console was not installed",
)


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a run of the installer."""

    code: int
    said: str

    @property
    def errors(self) -> list[str]:
        """Each error that it told, but for those that only say that it stops."""
        lines = self.said.splitlines()
        found = [s.removeprefix("Error: ") for s in lines if s.startswith("Error: ")]
        return [sentence for sentence in found if not sentence.startswith(STOPS)]


class ToyHost(BareHost):
    """*host* with the release unpacked in root's home."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.folder = unpack_toy(self)

    def twistlock(
        self,
        words: str,
        before: str = "",
        *,
        quick: bool = False,
        run_by: str = "",
        **settings: str,
    ) -> Ran:
        """Run twistlock.sh with *words*, after *before*, with these *settings*.

        With *quick* it soon gives up on a Console that does not start.
        """
        self.configure(**settings)
        patience = "export TOY_START_SECONDS=1; " if quick else ""
        python = "--python /usr/local/bin/toy-python"
        command = f"{patience}{run_by}./twistlock.sh {python} {words}"
        said = self.bash(
            f"cd {self.folder}; {before}\n{command}; echo $?", check=False, seconds=60
        )
        text, _, code = said.rstrip("\n").rpartition("\n")
        return Ran(int(code), f"{text}\n")

    def twistlock_functions(self, calls: str, before: str = "") -> Ran:
        """Run *calls*, which call functions of the installer, in its shell."""
        script = self.tree(f"{self.folder}/twistlock.sh").read_text()
        path = self.tree(f"{self.folder}/functions.sh")
        path.write_text(script.replace('main "$@"\n', f"{calls}\n"))
        said = self.bash(
            f"cd {self.folder}; {before}\nTWISTLOCK_PYTHON=/usr/local/bin/toy-python "
            "bash ./functions.sh; echo $?",
            check=False,
        )
        text, _, code = said.rstrip("\n").rpartition("\n")
        return Ran(int(code), f"{text}\n" if text else "")

    def write_installed(self, text: bytes) -> None:
        """Write *text* as the installed twistlock.cfg, as the account's own."""
        path = self.host.folder / "given.cfg"
        path.write_bytes(text)
        config = f"{DATA}/scripts/twistlock.cfg"
        self.bash(f"rm -f {config}; cp {path} {config}; chown twistlock: {config}")

    def configure(self, **settings: str) -> None:
        """Put *settings* into the twistlock.cfg of the release."""
        path = self.tree(f"{self.folder}/twistlock.cfg")
        usual = {"NODE_ADDRESS": "127.0.0.1", **settings}
        lines = Path("config/twistlock.cfg").read_text().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in usual]
        added = [f"{key}={value}" for key, value in usual.items()]
        path.write_text("\n".join([*kept, *added, ""]))

    def serves(self, programs: str = PROGRAMS) -> bool:
        """Tell whether the Console in the folder *programs* runs."""
        folder = shlex.quote(programs)
        command = f"{folder}/twistlock.sh --install-folder {folder} status"
        return '"serving": true' in self.bash(command, check=False)

    def running(self, data: str = DATA) -> tuple[str, str]:
        """The release that runs, and the settings that it read at its start."""
        folder = shlex.quote(f"{data}/run")
        return self.bash(f"cat {folder}/version"), self.bash(f"cat {folder}/config")
