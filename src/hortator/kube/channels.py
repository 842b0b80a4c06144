"""The remote-command protocol over a WebSocket: numbered channels, and the Status that carries the exit code.

Facts only, for the asynchronous and the blocking client and for servers; stdlib only, quick to import.
Upstream's names: ``v5.channel.k8s.io`` (KEP-4006: adds the close signal), ``v4.channel.k8s.io``.
"""

from __future__ import annotations

__all__ = [
    "CLOSE",
    "ERROR",
    "PORT_FORWARD_V4",
    "REMOTE_COMMAND",
    "RESIZE",
    "STDERR",
    "STDIN",
    "STDOUT",
    "V4",
    "V5",
    "exit_code",
]

STDIN = 0
STDOUT = 1
STDERR = 2
ERROR = 3
RESIZE = 4
#: Only in v5: the one byte that follows names the channel that its sender has ended.
CLOSE = 255

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
#: What a client offers for exec and attach, best first.
REMOTE_COMMAND = (V5, V4)
#: Port-forward: channel 2i carries the data of port i, channel 2i+1 an error message.
PORT_FORWARD_V4 = "v4.channel.k8s.io"


def exit_code(status: bytes) -> int | None:
    """Return the exit code in the Status of :data:`ERROR`; None when the command could not be run at all.

    Upstream: ``Success`` is 0; a failure with reason ``NonZeroExitCode`` has it in the cause ``ExitCode``.
    """
    # Imported here: by now the command has ended, and at the start every millisecond counts.
    import json

    try:
        document = json.loads(status)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    if document.get("status") == "Success":
        return 0
    details = document.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes or ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            try:
                return int(cause.get("message", ""))
            except ValueError:
                return None
    return None
