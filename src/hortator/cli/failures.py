"""What an unexpected exception means to a person: the API's refusals and a cluster that does not answer."""

from __future__ import annotations

from hortator.cli.errors import CommandError, Conflict, NotAllowed, NotFound, Unreachable, UsageError

__all__ = ["explain"]


def explain(error: BaseException) -> CommandError:
    """Return the error as it is to be told; anything unknown is named a fault of ours."""
    if isinstance(error, CommandError):
        return error
    from hortator.kube import errors

    if isinstance(error, errors.ApiError):
        table: tuple[tuple[type[Exception], type[CommandError], str], ...] = (
            (errors.NotFound, NotFound, ""),
            (errors.Unauthorized, NotAllowed, "the token or certificate is not valid for this cluster"),
            (errors.Forbidden, NotAllowed, "ask an admin for this right"),
            (errors.AlreadyExists, Conflict, ""),
            (errors.Conflict, Conflict, "somebody changed it meanwhile; do it again"),
            (errors.Invalid, UsageError, ""),
            (errors.BadRequest, UsageError, ""),
        )
        for situation, told, hint in table:
            if isinstance(error, situation):
                return told("the cluster refused", cause=str(error), hint=hint)
        return CommandError("the cluster refused", cause=str(error))
    if isinstance(error, errors.Unavailable):
        return Unreachable("the cluster does not answer", cause=str(error), hint="hort status, or hort up -d")
    if isinstance(error, errors.KubeError):
        return CommandError("the conversation with the cluster failed", cause=str(error))
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return CommandError(what)
    return CommandError(
        "this is a fault of hort's own",
        cause=f"{type(error).__name__}: {error}",
        hint="the same command with --debug",
    )
