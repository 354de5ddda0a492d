"""The passes, one file each; `TABLE` says which names there are, without importing them."""

TABLE: dict[str, str] = {
    "tile": "onnx2mzi.passes.tile:Tile",
    "svd": "onnx2mzi.passes.svd:Svd",
    "decompose": "onnx2mzi.passes.decompose:Decompose",
    "canonicalize": "onnx2mzi.passes.canonicalize:Canonicalize",
    "prune": "onnx2mzi.passes.prune.prune:Prune",
    "compact": "onnx2mzi.passes.compact:Compact",
    "retime": "onnx2mzi.passes.retime:Retime",
    "broken": "onnx2mzi.passes.broken:Broken",
    "trim": "onnx2mzi.passes.trim:Trim",
    "finetune": "onnx2mzi.passes.finetune:Finetune",
    "quantize": "onnx2mzi.passes.quantize:Quantize",
    "unroll": "onnx2mzi.passes.unroll:Unroll",
    "cool": "onnx2mzi.passes.cool:Cool",
    "cancel": "onnx2mzi.passes.cancel:Cancel",
    "place": "onnx2mzi.passes.place:Place",
    "compensate": "onnx2mzi.passes.compensate:Compensate",
}
