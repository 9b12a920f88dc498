"""`./dev fuzz`: sends what a document says, and what it does not say, to a platform of its own.

It owns the platform's life, who asks, and which documents are gone through. What is sent with each request, and what is
wrong about an answer, stands in `hooks.py`; how requests are made up is schemathesis' matter.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import people

HERE = pathlib.Path(__file__).resolve().parent
# How long the platform may take to come up, its first data included.
UP_SECONDS = 180

# Name, the variable of its address, and what its callers are: people, or services that call it by this name.
DOCUMENTS = {
    "auth": ("AUTH_URL", None),
    "basic": ("BASIC_URL", None),
    "finance": ("FINANCE_URL", None),
    "auth-internal": ("AUTH_INTERNAL_URL", "auth"),
    "core-internal": ("CORE_INTERNAL_URL", "core"),
}

# What would end the sessions that everything else is asked with.
EXCLUDED = {
    "auth": {
        "/auth/logout": "with an access token alone it ends the session of that token",
        "/auth/logout-all": "it ends every session of whoever asks",
        "/auth/factors/{id}": "it is sent ids that answers named, and takes away the factor that everybody signs in with",
    },
}

CHECKS = [
    "no_server_error",
    "every_success_is_documented",
    "every_failure_is_a_problem",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
]


def drop(folder):
    """What an earlier run left: its people have second factors, and its companies whatever was sent to them."""
    for name in ("postgres", "nats", "redis"):
        # Data of a folder that the servers' account cannot enter lies elsewhere (cli/src/local/account.rs).
        elsewhere = pathlib.Path(os.path.realpath(folder / name))
        if elsewhere.is_relative_to("/var/tmp") and elsewhere.parent.name.startswith("kisum-"):
            shutil.rmtree(elsewhere.parent, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


class Platform:
    """`kisum up` in a folder of its own, for as long as this lives."""

    def __init__(self, binary, folder):
        self.folder = pathlib.Path(folder)
        self.log = self.folder / "fuzz.log"
        drop(self.folder)
        self.folder.mkdir(parents=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [binary, "up", "--dir", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is ours to pass on.
                start_new_session=True,
            )

    def wait(self):
        """Until everything is up."""
        until = time.monotonic() + UP_SECONDS
        while not (self.folder / "ready").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"fuzz: the platform did not come up; its output is in {self.log}")
            time.sleep(0.2)

    def variables(self):
        """What `.kisum/env` says."""
        script = f'set -a; . "{self.folder}/env"; exec "{sys.executable}" -c "import json,os; print(json.dumps(dict(os.environ)))"'
        return json.loads(subprocess.check_output(["/bin/sh", "-c", script]))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()


def fuzz(name, variables, arguments):
    """Goes through one document; true when nothing was found."""
    url_variable, callee = DOCUMENTS[name]
    url = variables[url_variable]
    environment = dict(variables, PYTHONPATH=str(HERE), SCHEMATHESIS_HOOKS="hooks", FUZZ_CALLEE=callee or "")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
        "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(arguments.examples),
        "--continue-on-failure",
        "--warnings", "off",
        "--request-timeout", "30",
        "--suppress-health-check", "all",
    ]
    if arguments.seed is not None:
        command += ["--seed", str(arguments.seed)]
    for path, reason in EXCLUDED.get(name, {}).items():
        print(f"fuzz: {name}: not {path}: {reason}", flush=True)
        command += ["--exclude-path", path]
    if arguments.path:
        command += ["--include-path-regex", arguments.path]
    print(f"fuzz: {name}: {url}", flush=True)
    # It keeps what it has found where it runs.
    return subprocess.run(command, env=environment, cwd=arguments.dir).returncode == 0


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("documents", nargs="*", default=list(DOCUMENTS), help=f"of {', '.join(DOCUMENTS)}; all of them by default")
    parser.add_argument("--examples", type=int, default=100, help="requests made up for each operation, besides those at the edges")
    parser.add_argument("--seed", type=int, help="the same requests again")
    parser.add_argument("--path", help="only operations whose path matches")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--dir", required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.documents if name not in DOCUMENTS]
    if unknown:
        parser.error(f"there is no document {unknown[0]}")
    platform = Platform(arguments.binary, arguments.dir)
    try:
        print(f"fuzz: a platform of its own comes up in {arguments.dir}", flush=True)
        platform.wait()
        variables = platform.variables()
        variables["FUZZ_BINARY"] = arguments.binary
        variables["FUZZ_PEOPLE"] = json.dumps(people.prepare(variables))
        found = [name for name in arguments.documents if not fuzz(name, variables, arguments)]
    finally:
        platform.stop()
    if found:
        sys.exit(f"fuzz: something was found in {', '.join(found)}; see above, and the logs in {arguments.dir}/log")
    print("fuzz: nothing was found")


if __name__ == "__main__":
    main()
