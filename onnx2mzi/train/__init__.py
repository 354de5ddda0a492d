"""Training on phases (extra `train`: torch): a network whose weights are meshes of MZIs.

The only room that imports torch; nothing above imports it before training is asked for
(`onnx2mzi.train.extra.need`).

`mesh_function` is a mesh as a differentiable function, `network` a network of such meshes around
a host graph that `graph` runs in torch, `loop` trains it, and `methods` prune it on the way.
"""
