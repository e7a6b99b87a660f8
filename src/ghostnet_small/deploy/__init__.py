"""Export, quantise and run a folded network.

ONNX Runtime, OpenVINO and NNCF send usage reports to their makers unless that is switched off
before they are imported, as here.
"""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO and NNCF have no switch, and run without a module that they cannot import.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
