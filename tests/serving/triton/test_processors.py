"""Which Triton a machine gets, by its processor."""

import subprocess
import sys

import pytest

PROGRAM = """
import platform
platform.machine = lambda: {machine!r}
from serving.local import install
print(install.PYTRITON.file, bool(install.PYTRITON.sha256))
from serving.doctor.machine import check_system
print(check_system("Linux", {machine!r}, ("glibc", "2.36")).status)
if not install.PYTRITON.sha256:
    install.install_triton()
"""


def run(machine: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", PROGRAM.format(machine=machine)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("machine", "wheel"), [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64")]
)
def test_the_wheel_of_the_processor_is_taken(machine: str, wheel: str):
    done = run(machine)
    assert done.stdout.split() == [f"nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_{wheel}.whl", "True", "ok"]


def test_another_processor_is_refused_before_anything_is_fetched():
    done = run("riscv64")
    assert "ServingError: nvidia-pytriton has no wheel for riscv64; allowed: x86_64, aarch64" in done.stderr
    assert done.stdout.split()[-1] == "fault"
