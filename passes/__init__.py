"""The passes, one file each; `TABLE` says which names there are, without importing them."""

TABLE: dict[str, str] = {
    "tile": "onnx2mzi.passes.tile:Tile",
    "svd": "onnx2mzi.passes.svd:Svd",
    "decompose": "onnx2mzi.passes.decompose:Decompose",
    "canonicalize": "onnx2mzi.passes.canonicalize:Canonicalize",
    "prune": "onnx2mzi.passes.prune.prune:Prune",
    "trim": "onnx2mzi.passes.trim:Trim",
    "quantize": "onnx2mzi.passes.quantize:Quantize",
    "place": "onnx2mzi.passes.place:Place",
}
