"""Ways to prune while training, one a file; `TABLE` names them for the pass `prune`."""

TABLE: dict[str, str] = {
    "imp": "onnx2mzi.train.methods.imp:Imp",
    "lth": "onnx2mzi.train.methods.lth:Lottery",
    "soft-l1": "onnx2mzi.train.methods.soft:SoftL1",
    "grow": "onnx2mzi.train.methods.grow:Grow",
    "surgeon": "onnx2mzi.train.methods.surgeon:Surgeon",
    "brain-surgeon": "onnx2mzi.train.methods.exact:BrainSurgeon",
    "one-cycle": "onnx2mzi.train.methods.onecycle:OneCycle",
    "han": "onnx2mzi.train.methods.han:Han",
    "snip": "onnx2mzi.train.methods.snip:Snip",
    "two-well": "onnx2mzi.train.methods.twowell:TwoWell",
    "slimming": "onnx2mzi.train.methods.slimming:Slimming",
    "filter": "onnx2mzi.train.methods.filters:Filters",
    "fedtiny": "onnx2mzi.train.methods.fedtiny:FedTiny",
    "smartdeal": "onnx2mzi.train.methods.smartdeal:SmartDeal",
    "cluster": "onnx2mzi.train.methods.cluster:Cluster",
    "mixed": "onnx2mzi.train.methods.mixed:Mixed",
    "colt": "onnx2mzi.train.methods.colt:Colt",
}
