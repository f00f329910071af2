"""schemathesis over the OpenAPI document of the real server, for a bounded time: nothing breaks it, and whatever it
answers is as the document says.

CACHALOT_SCHEMATHESIS_SECONDS says for how long (a minute in `make test`, more in `make soak`).
"""

import os
import subprocess
import sysconfig

from conftest import People, Server

SECONDS = int(os.environ.get("CACHALOT_SCHEMATHESIS_SECONDS", "60"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# What would take the tester's own session, or the sense of the run, away.
LEFT_OUT = [
    "/api/account/delete",
    "/api/account/password",
    "/api/admin/rotate-key",
    "/api/logout",
    "/api/sessions",
    "/api/sessions/{id}",
]


def test_the_document_is_true(server: Server, people: People, tmp_path) -> None:
    command = [
        f"{sysconfig.get_path('scripts')}/schemathesis",
        "run",
        f"{server.url}/openapi.json",
        f"--max-time={SECONDS}",
        f"--checks={CHECKS}",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=1000000",
        "--suppress-health-check=all",
        "--request-timeout=60",
        "--generation-database=none",
        "--warnings=off",
        "--no-color",
        f"--header=Cookie: {people.cookie}",
        *(f"--exclude-path={path}" for path in LEFT_OUT),
    ]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS * 3 + 300)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    # It has really asked.
    assert "API Operations" in run.stdout or "operations" in run.stdout.lower(), run.stdout[-2_000:]
