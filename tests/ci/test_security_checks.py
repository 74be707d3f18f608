"""What CI runs in addition to the tests: a planted secret is found, and an advisory needs a reason to be accepted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Put together here, so that this file holds none of them itself.
PLANTED = {
    "aws": "key = '" + "AKIA" + "Q7X2M9T4L8R3W6ZB'",
    "password": "pass" + "word = 'sV7!kq92Lx'",  # pragma: allowlist secret
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "address": "redis://admin:" + "s3cr3tW0rd@redis.example.com",
}


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / ".ci" / script), *map(str, arguments)],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("kind", list(PLANTED))
def test_a_planted_secret_is_found(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "settings.py"
    file.write_text(f"# settings\n{PLANTED[kind]}\n", encoding="utf-8")
    done = run("secrets", file)
    assert done.returncode == 1
    assert f"{file}:2" in done.stdout
    assert PLANTED[kind] not in done.stdout + done.stderr, "a log of CI is no place for a secret"


def test_a_file_without_secrets_passes_and_the_baseline_stays(tmp_path: Path) -> None:
    (tmp_path / "clean.py").write_text("timeout = 30\n", encoding="utf-8")
    before = (ROOT / ".secrets.baseline").read_bytes()
    # And one with a known false alarm: a checksum.
    done = run("secrets", tmp_path / "clean.py", "polytask/ingest/widedeep.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / ".secrets.baseline").read_bytes() == before


def audit(tmp_path: Path, result: str, accepted: str = "") -> subprocess.CompletedProcess[str]:
    """The audit with a stand-in for pip-audit: it reports one advisory unless that is ignored, or ends as `result`."""
    stand_in = tmp_path / "python"
    stand_in.write_text(
        f"""#!/usr/bin/env bash
        while test $# -gt 0; do
          case $1 in --output) output=$2 ;; --ignore-vuln) ignored=$2 ;; esac
          shift
        done
        case {result} in
          advisory)
            test "${{ignored:-}}" = PYSEC-2099-1 && exit 0
            echo "feast 0.67.0 PYSEC-2099-1" >"$output"
            exit 1 ;;
          unreachable) echo "ConnectionError: api.osv.dev" >&2; exit 1 ;;
          slow) sleep 60 ;;
        esac
        """,
        encoding="utf-8",
    )
    stand_in.chmod(0o755)
    (tmp_path / "accepted").write_text(accepted, encoding="utf-8")
    return run("audit", PYTHON=str(stand_in), ACCEPTED=str(tmp_path / "accepted"), AUDIT_SECONDS="2")


def test_an_advisory_fails_until_it_is_accepted_with_a_reason(tmp_path: Path) -> None:
    done = audit(tmp_path, "advisory")
    assert done.returncode == 1
    assert "feast 0.67.0 PYSEC-2099-1" in done.stdout
    assert audit(tmp_path, "advisory", "# a note\nPYSEC-2099-1 the server is not used\n").returncode == 0
    done = audit(tmp_path, "advisory", "PYSEC-2099-1\n")
    assert done.returncode == 1
    assert "PYSEC-2099-1 has no reason; allowed: an advisory's id, a space, why it is accepted" in done.stdout


@pytest.mark.parametrize(
    ("result", "reason"), [("unreachable", "ConnectionError: api.osv.dev"), ("slow", "no result after 2 s")]
)
def test_a_database_that_is_unavailable_fails_nothing(tmp_path: Path, result: str, reason: str) -> None:
    done = audit(tmp_path, result)
    assert (done.returncode, done.stdout) == (0, f"advisories were not checked: {reason}\n")


def test_both_are_part_of_what_ci_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (check,) = (line for line in makefile.splitlines() if line.startswith("check:"))
    assert " secrets" in check
    assert "make audit" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
