"""The errors the Defender raises; each message is one sentence to act on."""


class DefenderError(Exception):
    """Anything the Defender reports in one sentence."""


class FolderError(DefenderError):
    """A file in the Defender's folder is missing or cannot be used."""


class EnrolError(DefenderError):
    """The Console did not enrol this Defender."""


class Unwelcome(DefenderError):
    """A Console that must not be obeyed, or that does not want us."""


class Silent(DefenderError):
    """The Console has said nothing for too long."""
