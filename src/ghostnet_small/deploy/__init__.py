"""The folded network on its way to a device: exported, quantised, run and timed there.

ONNX Runtime, OpenVINO and NNCF tell their makers of each use unless they are told not to before
they are imported, as they are here.
"""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO and NNCF have no switch, and go on without what they cannot import.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
