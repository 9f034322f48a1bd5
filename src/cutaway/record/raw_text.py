"""The Python that raw files share: what stands in for an engine, what makes inputs, what runs the graph."""

PREAMBLE = """
import sys

import torch
from torch import device, inf, nan
"""

STAND_IN = '''
def stand_in(name):
    """Let an operator that needs a running engine write and return zeros, as the engine's own profile run does."""
    namespace, operator = name.split("::")
    op = getattr(getattr(torch.ops, namespace), operator).default
    written = [i for i, a in enumerate(op._schema.arguments) if a.alias_info is not None and a.alias_info.is_write]

    def zeros(*args):
        for i in written:
            if i < len(args) and isinstance(args[i], torch.Tensor):
                args[i].zero_()
        if not op._schema.returns:
            return None
        shapes = op(*(a.to("meta") if isinstance(a, torch.Tensor) else a for a in args))
        make = lambda t: torch.zeros(t.shape, dtype=t.dtype, device=args[0].device)
        return torch.utils._pytree.tree_map_only(torch.Tensor, make, shapes)

    library = torch.library.Library(namespace, "IMPL")
    for key in ("CPU", "CUDA"):
        library.impl(operator, zeros, key, allow_override=True)
    return library


'''

WITH_GRAPH = '''
def with_graph(body):
    """The body of an operator that asks it for a graph: one of a single node, which calls it."""
    import inspect

    graph = torch.fx.Graph()
    inputs = [graph.placeholder(name) for name in inspect.signature(body.forward).parameters]
    graph.output(graph.call_module("body", tuple(inputs)))
    return torch.fx.GraphModule({"body": body}, graph)


'''

INPUTS = '''
def tensor(shape, stride, dtype, where):
    """A tensor of this layout with seeded contents: small floats, small non-negative integers."""
    size = 1 + sum((n - 1) * step for n, step in zip(shape, stride)) if all(shape) else 0
    if dtype.is_floating_point or dtype.is_complex:
        flat = (torch.randn(size) * 0.1).to(dtype)
    elif dtype == torch.bool:
        flat = torch.rand(size) > 0.5
    else:
        flat = torch.randint(0, 4, (size,)).to(dtype)
    return flat.to(where).as_strided(shape, stride)

'''

MAIN = """
def main():
    sizes = dict((argument.split("=") + [""])[:2] for argument in sys.argv[1:])
    known = example_inputs.__code__.co_varnames[: example_inputs.__code__.co_argcount]
    if not all(name in known and size.isdigit() for name, size in sizes.items()):
        takes = " ".join(f"{name}=NUMBER" for name in known) or "none: every size is fixed"
        print(f"bad sizes {' '.join(sys.argv[1:])!r}. This graph takes {takes}.", file=sys.stderr)
        sys.exit(2)
    torch.manual_seed(0)
    inputs = example_inputs(**{name: int(size) for name, size in sizes.items()})
    with torch.no_grad():
        outputs = Graph()(*inputs)
    for index, value in enumerate(torch.utils._pytree.tree_leaves(outputs)):
        if isinstance(value, torch.Tensor):
            checksum = value.to(torch.float64).sum().item() if value.numel() else 0.0
            print(f"output {index}: {value.dtype} {list(value.shape)} sum {checksum:.6g}")
        else:
            print(f"output {index}: {value!r}")


if __name__ == "__main__":
    main()
"""
