import pytest

from hortator.apimachinery.fielderrors import required
from hortator.apimachinery.status import ApiStatus, StatusError

E = StatusError


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (E.not_found("pods", "", "a"), 404, "NotFound", 'pods "a" not found'),
        (E.not_found("jobs", "batch", "a"), 404, "NotFound", 'jobs.batch "a" not found'),
        (E.already_exists("pods", "", "a"), 409, "AlreadyExists", 'pods "a" already exists'),
        (
            E.generate_name_conflict("pods", "", "a"),
            409,
            "AlreadyExists",
            'pods "a" already exists, the server was not able to generate a unique name for the object',
        ),
        (
            E.conflict("pods", "", "a", "no"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "a": no',
        ),
        (
            E.stale("pods", "", "a"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on pods "a": the object has been modified; '
            "please apply your changes to the latest version and try again",
        ),
        (
            E.invalid("Job", "a", [required("spec")], group="batch"),
            422,
            "Invalid",
            'Job.batch "a" is invalid: spec: Required value',
        ),
        (E.invalid("Pod", "a", []), 422, "Invalid", 'Pod "a" is invalid'),
        (E.forbidden("pods", "", "a", "no"), 403, "Forbidden", 'pods "a" is forbidden: no'),
        (E.forbidden("pods", "", "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (E.forbidden("", "", "", "no"), 403, "Forbidden", "forbidden: no"),
        (E.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (E.bad_request("no"), 400, "BadRequest", "no"),
        (E.unknown_path(), 404, "NotFound", "the server could not find the requested resource"),
        (
            E.method_not_allowed("jobs", "batch", "patch"),
            405,
            "MethodNotAllowed",
            'patch is not supported on resources of kind "jobs.batch"',
        ),
        (E.gone("x"), 410, "Gone", "x"),
        (E.expired("too old"), 410, "Expired", "too old"),
        (
            E.not_acceptable(["a", "b"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: a, b",
        ),
        (
            E.unsupported_media_type(["a"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: a",
        ),
        (
            E.request_entity_too_large("limit is 3145728"),
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        ),
        (E.timeout("slow"), 504, "Timeout", "Timeout: slow"),
        (
            E.server_timeout("pods", "", "list", 1),
            500,
            "ServerTimeout",
            "The list operation against pods could not be completed at this time, please try again.",
        ),
        (E.too_many_requests("busy", 3), 429, "TooManyRequests", "busy"),
        (E.service_unavailable("down"), 503, "ServiceUnavailable", "down"),
        (E.internal("oops"), 500, "InternalError", "Internal error occurred: oops"),
    ],
)
def test_words_and_codes(error, code, reason, message):
    assert (error.code, error.reason, error.message, str(error)) == (code, reason, message, message)
    assert StatusError.from_dict(error.to_dict()).to_dict()["message"] == message


def test_a_body_is_laid_out_as_upstream_does():
    assert StatusError.invalid("Pod", "a", [required("spec")]).to_dict() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'Pod "a" is invalid: spec: Required value',
        "reason": "Invalid",
        "details": {
            "name": "a",
            "kind": "Pod",
            "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec"}],
        },
        "code": 422,
    }


def test_success_has_details():
    assert ApiStatus.success(name="a", kind="pods", uid="u").to_dict() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "pods", "uid": "u"},
        "code": 200,
    }


def test_retry_after_survives():
    assert ApiStatus.from_dict(StatusError.too_many_requests("busy", 3).to_dict()).retry_after == 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"details": 1},
        {"details": {"causes": 1}},
        {"code": "x", "message": 1},
        {"details": {"causes": [1]}},
    ],
)
def test_odd_bodies_do_no_harm(body):
    status = ApiStatus.from_dict(body)
    assert (status.code, status.message, status.causes) == (500, "", ())


@pytest.mark.parametrize(
    ("code", "text", "reason", "message"),
    [
        (404, "404 page not found", "NotFound", "the server could not find the requested resource"),
        (403, "who are you", "Forbidden", "who are you"),
        (
            502,
            "bad",
            "InternalError",
            'an error on the server ("bad") has prevented the request from succeeding',
        ),
        (
            418,
            "",
            "",
            "the server responded with the status code 418 but did not return more information",
        ),
    ],
)
def test_answers_without_status_are_described(code, text, reason, message):
    status = ApiStatus.generic(code, text)
    assert (status.code, status.reason, status.message) == (code, reason, message)
