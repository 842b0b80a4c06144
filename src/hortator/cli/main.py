"""The entry of ``hort``: finds the command, imports only its module, and turns errors into exit codes.

A command is a module with ``configure(parser)`` and ``run(args) -> int``. Nothing heavy is imported here: ``hort --help``
has to be there at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from hortator.cli.errors import CommandError, UsageError

#: Command -> (module, help line), in the order of ``hort --help``.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "run a command as a job, show its output, exit with its code"),
    "submit": ("submit", "submit a job from a file or standard input and return"),
    "jobs": ("jobs", "list the jobs"),
    "show": ("show", "tell all about a job"),
    "logs": ("logs", "print a job's output"),
    "ranks": ("ranks", "show where the ranks of a job run"),
    "cancel": ("cancel", "end jobs"),
    "wait": ("wait", "wait until jobs end, exit with the largest code"),
    "up": ("up", "start the local cluster"),
    "down": ("down", "stop the local cluster"),
    "status": ("status", "tell how the local cluster is"),
    "doctor": ("doctor", "check this machine and say what to mend"),
    "context": ("context", "list the clusters, or choose the one that hort speaks to"),
    "kubeconfig": ("kubeconfig", "print or merge what kubectl needs"),
    "completion": ("completion", "print a shell's completion script"),
    "version": ("version", "print the version"),
}
ALIASES = {"ps": "jobs", "queue": "jobs"}


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are told as all others are: what, and where to look."""

    def error(self, message: str) -> NoReturn:
        """Raise :class:`UsageError` instead of printing the usage."""
        raise UsageError(message, hint=f"{self.prog} --help")


def build_parser(only: str | None = None) -> Parser:
    """Return the parser of ``hort``; ``only`` names the one command whose module is imported (None: all)."""
    parser = Parser(
        prog="hort",
        description="Run MPI, batch and interactive work the same way on a laptop, on Kubernetes and on Slurm.",
        epilog="A job's own arguments follow --, as in: hort run -n 4 -- ./solver input.nml",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, (module, text) in COMMANDS.items():
        aliases = [alias for alias, target in ALIASES.items() if target == name]
        command = commands.add_parser(
            name, aliases=aliases, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
        )
        command.add_argument("--debug", action="store_true", help="print tracebacks")
        if only is None or only == name:
            importlib.import_module(f"hortator.cli.{module}").configure(command)
    return parser


def _report(error: CommandError, args: Sequence[str]) -> None:
    if _wants_json(args):
        import json

        body = {"code": error.code, "reason": type(error).__name__, "message": error.what}
        body |= {"cause": error.cause} if error.cause else {}
        body |= {"hint": error.hint} if error.hint else {}
        print(json.dumps({"error": body}), file=sys.stderr)
    else:
        print("\n".join(error.lines()), file=sys.stderr)


def _wants_json(args: Sequence[str]) -> bool:
    head = list(args[: args.index("--")]) if "--" in args else list(args)
    return (
        "-ojson" in head
        or "--output=json" in head
        or any(
            flag in ("-o", "--output") and value == "json"
            for flag, value in zip(head, head[1:], strict=False)  # noqa: RUF007 - start-up counts
        )
    )


def _nearest(word: str) -> str:
    import difflib

    close = difflib.get_close_matches(word, [*COMMANDS, *ALIASES], n=1)
    return f"hort {close[0]}" if close else "hort --help"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    named = next((arg for arg in args if not arg.startswith("-")), "")
    named = ALIASES.get(named, named)
    debug = "--debug" in (args[: args.index("--")] if "--" in args else args)
    try:
        if named not in COMMANDS and "--version" in args[:1]:
            named, args = "version", ["version"]
        if named and named not in COMMANDS:
            raise UsageError(f"there is no command {named}", hint=_nearest(named))
        parser = build_parser(only=named or "-")
        parsed, unknown = parser.parse_known_args(args)
        if unknown:
            raise UsageError(
                f"unrecognized arguments: {' '.join(unknown)}", hint=f"hort {named} --help".replace("  ", " ")
            )
        if not parsed.command:
            parser.print_help()
            return 0
        module = importlib.import_module(f"hortator.cli.{COMMANDS[named][0]}")
        code = int(module.run(parsed))
        sys.stdout.flush()
        return code
    except CommandError as error:
        if debug:
            raise
        _report(error, args)
        return error.code
    except KeyboardInterrupt:
        if debug:
            raise
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has gone: say nothing, and let nothing be flushed into the dead pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as error:
        from hortator.cli.failures import explain

        if debug:
            raise
        told = explain(error)
        _report(told, args)
        return told.code


if __name__ == "__main__":
    sys.exit(main())
