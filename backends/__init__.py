"""The back ends, one file each; `TABLE` says which names there are, without importing them.

The order is the one in which they write.
"""

TABLE: dict[str, str] = {
    "ir": "onnx2mzi.backends.ir_text:IrText",
    "phases": "onnx2mzi.backends.phases:Phases",
    "onnx": "onnx2mzi.backends.onnx_model:OnnxModel",
    "netlist": "onnx2mzi.backends.netlist:Netlist",
    "gds": "onnx2mzi.backends.gds.backend:Gds",
    "spice": "onnx2mzi.backends.spice:Spice",
    "report": "onnx2mzi.backends.report.report:Report",
}
# Written where they are named only.
ON_REQUEST = frozenset({"spice"})
