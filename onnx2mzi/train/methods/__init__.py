"""Ways to prune while training, one a file; `TABLE` names them for the pass `prune`."""

TABLE: dict[str, str] = {
    "imp": "onnx2mzi.train.methods.imp:Imp",
    "lth": "onnx2mzi.train.methods.lth:Lottery",
    "soft-l1": "onnx2mzi.train.methods.soft:SoftL1",
    "grow": "onnx2mzi.train.methods.grow:Grow",
    "one-cycle": "onnx2mzi.train.methods.onecycle:OneCycle",
    "han": "onnx2mzi.train.methods.han:Han",
    "snip": "onnx2mzi.train.methods.snip:Snip",
    "colt": "onnx2mzi.train.methods.colt:Colt",
}
