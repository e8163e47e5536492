#!/usr/bin/env python3
"""Checks the graphs that Sembla builds for GPUs with the Python packages onnx and onnxruntime (and sympy, for shapes), on a processor.

    SEMBLA_TEST_GRAPHS=FOLDER cargo test --release -p sembla-models --lib fused::tests
    scripts/check-graphs.py FOLDER

Each graph must pass ONNX's checker; ONNX Runtime must infer its types and shapes, and lack nothing but a kernel for packed attention;
with sympy, its symbolic inference must find the shape that each output declares.
"""
import pathlib
import sys

import onnx
import onnxruntime

MISSING = "PackedMultiHeadAttention"


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model)
    packed = any(node.op_type == MISSING for node in model.graph.node)
    try:
        onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        refused = None
    except Exception as error:
        refused = str(error)
    lacks_kernel = refused and ("Could not find an implementation" in refused or "Failed to find kernel" in refused)
    if packed and not (lacks_kernel and MISSING in refused):
        return f"expected the refusal of {MISSING} alone, got: {refused}"
    if not packed and refused is not None:
        return refused
    try:
        from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
    except ImportError:
        return None
    inferred = SymbolicShapeInference.infer_shapes(model, auto_merge=True, guess_output_rank=False)
    for declared, found in zip(model.graph.output, inferred.graph.output):
        sizes = [[dim.dim_value or None for dim in one.type.tensor_type.shape.dim] for one in (declared, found)]
        types = [one.type.tensor_type.elem_type for one in (declared, found)]
        if types[0] != types[1] or len(sizes[0]) != len(sizes[1]) or any(a and b and a != b for a, b in zip(*sizes)):
            return f"declares {types[0]} {sizes[0]}, and {types[1]} {sizes[1]} is inferred"
    return None


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    if not paths:
        sys.exit(f"{sys.argv[1]} has no .onnx file")
    problems = [(path, problem) for path in paths if (problem := check(path))]
    for path, problem in problems:
        print(f"{path.name}: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(paths)} graphs are sound")


if __name__ == "__main__":
    main()
