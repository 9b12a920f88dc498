"""What goes along with each request that schemathesis makes up, and what is wrong about an answer.

It owns names that exist, so that requests get past "there is no such company", and the platform's promises about answers
(`docs/api/errors.md`) as checks. It refuses to know how a request is made up.
"""

import os
import random
import threading

import people
import requests
import schemathesis

VARIABLES = dict(os.environ)
CALLEE = VARIABLES.get("FUZZ_CALLEE")
TOKENS = people.Tokens(VARIABLES)
LOCK = threading.Lock()
CHANCE = random.Random(5)

# Every code that a problem may have, by status.
CODES = {
    400: {"validation_error"}, 401: {"unauthorized", "session_revoked"}, 403: {"forbidden"}, 404: {"not_found"},
    405: {"method_not_allowed"}, 408: {"request_timeout"}, 409: {"conflict"}, 413: {"too_large"},
    415: {"unsupported_media_type"}, 422: {"unprocessable"}, 429: {"rate_limited"}, 431: {"headers_too_large"},
    503: {"service_unavailable"},
}


def internal(callee, path):
    """Asks an internal route."""
    url = VARIABLES[f"{callee.upper()}_INTERNAL_URL"] + path
    token = people.service_token(VARIABLES, callee, "GET", path.split("?")[0])
    answer = requests.get(url, headers={"authorization": f"Bearer {token}"}, timeout=people.ANSWER_SECONDS)
    answer.raise_for_status()
    return answer.json()["data"]


def known():
    """Values of path parameters that name something. What an internal route may end is nobody's who asks."""
    company = "dormant" if CALLEE else "acme-live"
    company_id = internal("auth", f"/internal/v1/companies/by-slug/{company}")["companyId"]
    admin = TOKENS.of("superadmin@acme-live.example")
    answer = requests.get(
        f"{VARIABLES['AUTH_URL']}/companies/{company_id}/members",
        headers={"authorization": f"Bearer {admin}", "x-org": company_id},
        timeout=people.ANSWER_SECONDS,
    )
    members = [] if CALLEE else [item["membershipId"] for item in answer.json()["data"]["items"]]
    victims = [internal("auth", f"/internal/v1/users/by-email?email={name}@dormant.example")["userId"] for name in ("user", "manager")]
    return {
        "company": [company_id],
        "member": members,
        "membership": members,
        "id": [company_id, *victims],
        "module": ["finance", "basic", "venue"],
        "addon": ["finance", "market"],
        "permission": ["finance.bills.read", "basic.events.create"],
        "slug": ["acme-live", "dormant"],
        "role": ["SUPPORT", "CATALOG_EDITOR"],
        "log": ["auth", "core"],
    }


KNOWN = known()


def chance(part):
    with LOCK:
        return CHANCE.random() < part


def choose(values):
    with LOCK:
        return CHANCE.choice(values)


class ServiceToken(requests.auth.AuthBase):
    """Signs for the request as it goes out, whatever became of its path on the way."""

    def __call__(self, request):
        path = request.path_url.split("?")[0]
        request.headers["authorization"] = "Bearer " + people.service_token(VARIABLES, CALLEE, request.method, path)
        return request


@schemathesis.hook
def before_call(context, case, kwargs):
    for name in list(case.path_parameters or {}):
        if KNOWN.get(name) and chance(0.6):
            case.path_parameters[name] = choose(KNOWN[name])
    headers = dict(case.headers or {})
    if CALLEE:
        kwargs["auth"] = ServiceToken()
        if chance(0.8):
            with LOCK:
                headers["x-actor-token"] = TOKENS.of(people.OWNER)
    else:
        with LOCK:
            email = CHANCE.choice(people.EMAILS[:1] * 4 + people.EMAILS[1:])
            headers["authorization"] = "Bearer " + TOKENS.of(email)
        if any(name.lower() == "x-org" for name in headers) and chance(0.8):
            headers = {name: value for name, value in headers.items() if name.lower() != "x-org"}
            path_company = (case.path_parameters or {}).get("company")
            headers["x-org"] = path_company if path_company and chance(0.7) else "acme-live"
    case.headers = headers


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code == 401 and not CALLEE and code_of(response) == "session_revoked":
        token = (response.request.headers.get("authorization") or "").removeprefix("Bearer ")
        with LOCK:
            TOKENS.forget(token)


def body_of(response):
    try:
        return response.json()
    except ValueError:
        return None


def code_of(response):
    body = body_of(response)
    error = body.get("error") if isinstance(body, dict) else None
    return error.get("code") if isinstance(error, dict) else None


@schemathesis.check
def no_server_error(ctx, response, case):
    """A defect shows as 5xx. 503 is promised where something cannot be known, with when to come back."""
    if response.status_code < 500:
        return
    is_promised = response.status_code == 503 and code_of(response) == "service_unavailable"
    assert is_promised and "retry-after" in response.headers, f"{response.status_code}: {response.text[:500]}"


@schemathesis.check
def every_success_is_documented(ctx, response, case):
    """`default` describes problems alone."""
    # Other methods are sent as well: OPTIONS is for pages of other origins, and no operation.
    if response.request.method != case.operation.method.upper():
        return
    documented = case.operation.definition.raw["responses"]
    is_documented = response.status_code >= 400 or str(response.status_code) in documented
    assert is_documented, f"{response.status_code} is not documented, only {sorted(documented)}"


@schemathesis.check
def every_failure_is_a_problem(ctx, response, case):
    """RFC 9457 with the platform's own members, and a code that belongs to the status."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    body = body_of(response)
    assert isinstance(body, dict), f"{response.status_code} with no JSON: {response.text[:200]}"
    assert body.get("success") is False and body.get("status") == response.status_code, body
    assert code_of(response) in CODES.get(response.status_code, set()), body
