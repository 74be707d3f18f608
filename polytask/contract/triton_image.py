"""The one supported pair of a Triton image and the ONNX Runtime in it, and the versions of Python its stub runs on.

Everything that runs an exported graph runs it on this ONNX Runtime: the parity check, the precision gate, the
benchmarks, the local server's backend and the image on a cluster. A test compares every place that has to repeat one of
the two. When and how to move to another pair is in `docs/adr/0041-triton-image.md`.
"""

# The tag of nvcr.io/nvidia/tritonserver, and the ONNX Runtime that its release was built with (Triton 2.72).
TRITON_IMAGE = "26.08-py3"
ONNX_RUNTIME = "1.28.0"

# The versions of Python that the wheel of the local server has a stub of its Python backend for. What runs that server
# is limited to them: the demo, `polytask serve`, the tests, and so `make setup`. Client and library run on more:
# `requires-python`.
STUB_PYTHONS = ("3.11", "3.12")
