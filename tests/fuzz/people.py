"""Who asks: people of the demo with a second factor each, and tokens that are fresh whenever they are used.

It owns signing in and service tokens. It refuses to know what is asked.
"""

import base64
import hashlib
import hmac
import json
import struct
import subprocess
import time

import requests

# Access tokens live for five minutes.
TOKEN_SECONDS = 200
# Long enough for any answer.
ANSWER_SECONDS = 30
# A member who may do everything, one who may do little, one of another company, and the platform's owner.
EMAILS = [
    "superadmin@acme-live.example",
    "user@acme-live.example",
    "superadmin@echo-venues.example",
    "owner@platform.example",
]
OWNER = EMAILS[-1]


def post(url, body, token=None):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(url, json=body, headers=headers, timeout=ANSWER_SECONDS)
    if not answer.ok:
        raise RuntimeError(f"{url}: {answer.status_code} {answer.text}")
    return answer.json()["data"]


def code(secret, at=None):
    """A code of an authenticator app (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    step = int((time.time() if at is None else at) // 30)
    digest = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def prepare(variables):
    """Gives everybody a second factor, so that what is sensitive can be reached; answers with the secrets."""
    auth, password = variables["AUTH_URL"], variables["DEMO_PASSWORD"]
    factors = {}
    # The owner has an app from the start: staff must.
    if "DEMO_ADMIN_TOTP_SECRET" in variables:
        factors[OWNER] = variables["DEMO_ADMIN_TOTP_SECRET"]
    for email in EMAILS:
        if email not in factors:
            login = post(f"{auth}/auth/login", {"email": email, "password": password, "client": "native"})
            token = login["accessToken"]
            offer = post(f"{auth}/auth/factors/totp", {"label": "fuzz"}, token)
            proof = {"challenge": offer["challenge"], "code": code(offer["secret"])}
            post(f"{auth}/auth/factors", proof, token)
            factors[email] = offer["secret"]
    return factors


class Tokens:
    """Access tokens of the people, signed in again before they run out."""

    def __init__(self, variables):
        self.variables = variables
        self.factors = json.loads(variables["FUZZ_PEOPLE"])
        self.held = {}

    def of(self, email):
        token, since = self.held.get(email, (None, 0))
        if time.monotonic() - since > TOKEN_SECONDS or token is None:
            token = self.sign_in(email)
            self.held[email] = (token, time.monotonic())
        return token

    def forget(self, token):
        self.held = {email: held for email, held in self.held.items() if held[0] != token}

    def sign_in(self, email):
        auth, password = self.variables["AUTH_URL"], self.variables["DEMO_PASSWORD"]
        login = post(f"{auth}/auth/login", {"email": email, "password": password, "client": "native"})
        # A code is good once: the next one may have to be waited for.
        for _ in range(40):
            proof = {"challenge": login["challenge"], "method": "totp", "code": code(self.factors[email])}
            answer = requests.post(f"{auth}/auth/login/second-factor", json=proof, timeout=ANSWER_SECONDS)
            if answer.ok:
                return answer.json()["data"]["accessToken"]
            time.sleep(31 - time.time() % 30)
            login = post(f"{auth}/auth/login", {"email": email, "password": password, "client": "native"})
        raise RuntimeError(f"{email} cannot sign in: {answer.status_code} {answer.text}")


def service_token(variables, callee, method, path):
    """A token of the caller `admin` for this one request."""
    command = [
        variables["FUZZ_BINARY"], "service-token", "--as", "admin", "--aud", callee,
        "--method", method, "--path", path, "--dir", variables["KISUM_DIR"],
    ]
    return subprocess.check_output(command, text=True, env={"ENVIRONMENT": "local"}).strip()
