"""`python -m onnx2mzi` is the command `onnx2mzi`."""

import sys

from onnx2mzi.cli import main

if __name__ == "__main__":
    sys.exit(main())
