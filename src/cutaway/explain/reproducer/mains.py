"""What a reproducer does when it is run, for each fault: text of its file."""

from __future__ import annotations

SEEDED = '''
def seeded(shape, dtype, seed):
    """Random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)

'''

VALUES = """
def copies(values):
    return [value.clone() if isinstance(value, torch.Tensor) else value for value in values]


def flat(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]

"""

APART = '''
def apart(name, wanted, found, exact=None):
    """Say how far two values are apart; whether that is too far, float64 being the referee where it is known."""
    if not isinstance(wanted, torch.Tensor) or not isinstance(found, torch.Tensor):
        return wanted != found
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        print(f"{name}: {wanted.dtype} {list(wanted.shape)} against {found.dtype} {list(found.shape)}")
        return True
    rtol, atol = TOLERANCES.get(wanted.dtype, (0.0, 0.0))
    known = ~(wanted.isnan() & found.isnan())
    error = (wanted.double() - found.double()).abs() - rtol * wanted.double().abs()
    error = error.nan_to_num(nan=float("inf")).masked_fill(~known, 0.0)
    if not error.numel() or float(error.max()) <= atol:
        print(f"{name}: the same, within {rtol} and {atol}")
        return False
    place = int(error.argmax())
    left, right = wanted.reshape(-1)[place].item(), found.reshape(-1)[place].item()
    print(f"{name}: element {place} of {wanted.numel()} is {right!r} instead of {left!r}")
    if not isinstance(exact, torch.Tensor) or exact.shape != wanted.shape or not wanted.is_floating_point():
        return True
    far, near = (float((one.double() - exact).abs().nan_to_num(nan=float("inf")).max()) for one in (found, wanted))
    print(f"{name}: from float64 it is {far:.3g} off, the graph {near:.3g}")
    return far > 8 * max(near, torch.finfo(wanted.dtype).eps * float(exact.abs().nan_to_num().max()))

'''

_FLOAT64 = '''
def in_float64(inputs):
    """What the graph computes in float64; nothing where an operator takes none."""
    wide = [one.double() if isinstance(one, torch.Tensor) and one.is_floating_point() else one for one in inputs]
    try:
        return flat(graph(*copies(wide)))
    except (RuntimeError, TypeError, NotImplementedError):
        return []


def compare(wanted, found, exact, before, left, given):
    """Whether results, or inputs after the call, are apart."""
    exact = exact if len(exact) == len(wanted) else [None] * len(wanted)
    known = [(place, three) for place, three in enumerate(zip(wanted, found, exact)) if three[1] is not None]
    wrong = [apart(f"result {place}", *three) for place, three in known]
    for place, (one, other, was) in enumerate(zip(left, given, before)):
        if isinstance(one, torch.Tensor) and not (torch.equal(one, was) and torch.equal(other, was)):
            wrong.append(apart(f"input {place} after the call", one, other))
    return any(wrong)


def afresh(wanted, exact, inputs, left):
    """Say whether this torch, compiling the graph anew in this process, shows the fault, too."""
    print(f"-- the graph, compiled afresh by torch {torch.__version__} in this process")
    given = copies(inputs)
    try:
        found = flat(torch.compile(graph, fullgraph=True, dynamic=False)(*given))
    except Exception as error:
        print(f"it cannot be compiled: {type(error).__name__}: {str(error).splitlines()[0]}")
        return False
    is_wrong = compare(wanted, found, exact, inputs, left, given)
    print("it shows the fault as well" if is_wrong else "it is right")
    return is_wrong

'''

PAIR = """
def main():
    inputs = example_inputs()
    with torch.no_grad():
        wanted, found = flat(before(*copies(inputs))), flat(after(*copies(inputs)))
    wrong = [apart(f"result {place}", *pair) for place, pair in enumerate(zip(wanted, found))]
    sys.exit(1 if any(wrong) else 0)
"""

OVERWRITTEN = """
def main():
    inputs = example_inputs()
    left, given = copies(inputs), copies(inputs)
    with torch.no_grad():
        before(*left)
        after(*given)
    found = False
    for name, was, kept, now in zip(NAMES, inputs, left, given):
        if not isinstance(was, torch.Tensor) or not torch.equal(was, kept) or torch.equal(was, now):
            continue
        place = int((was != now).reshape(-1).nonzero()[0])
        old, new = was.reshape(-1)[place].item(), now.reshape(-1)[place].item()
        print(f"{name} is overwritten, and was not given away:")
        print(f"element {place} of {was.numel()} was {old!r}, and is {new!r}")
        found = True
    if not found:
        print("no input is overwritten that the graph before leaves as it is")
    sys.exit(1 if found else 0)
"""

COMPILED = (
    _FLOAT64
    + """
def main():
    inputs = example_inputs()
    left = copies(inputs)
    with torch.no_grad():
        wanted, exact = flat(graph(*left)), in_float64(inputs)
        sys.exit(1 if afresh(wanted, exact, inputs, left) else 0)
"""
)

CODE = (
    _FLOAT64
    + """
def main():
    inputs = example_inputs()
    left, given = copies(inputs), copies(inputs)
    with torch.no_grad():
        wanted, exact = flat(graph(*left)), in_float64(inputs)
        print("-- the code above, as it was generated")
        is_wrong = compare(wanted, generated(*given), exact, inputs, left, given)
        if "--code" not in sys.argv:
            afresh(wanted, exact, inputs, left)
    sys.exit(1 if is_wrong else 0)
"""
)

CRASH = '''
RAISED = 3


def main():
    inputs = example_inputs()
    with torch.no_grad():
        if "--generated" in sys.argv:
            attempt(lambda: generated(*inputs))
        elif "--afresh" in sys.argv:
            attempt(lambda: torch.compile(graph, fullgraph=True, dynamic=False)(*inputs))
        else:
            print(f"the graph itself runs, and has {len(flat(graph(*copies(inputs))))} results")
            is_dead = ended("the code above, as it was generated", "--generated")
            if "--code" not in sys.argv:
                ended(f"the graph, compiled afresh by torch {torch.__version__}", "--afresh")
            sys.exit(1 if is_dead else 0)


def attempt(function):
    """Call it, and wait for a GPU; an exception is told by an exit code of its own."""
    try:
        function()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
        sys.exit(RAISED)


def ended(what, argument):
    """Run this file again, and say how that ended; whether by a signal, or an exception."""
    command = [sys.executable, __file__, argument]
    child = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    code, said = child.returncode, child.stdout.strip().splitlines()
    how = signal.Signals(-code).name if code < 0 else said[-1] if code == RAISED and said else f"exit code {code}"
    print(f"{what}: it ended with {how}")
    return code < 0 or code == RAISED
'''

NAN = """
def main():
    inputs = example_inputs()
    with torch.no_grad():
        results = flat(graph(*copies(inputs)))
    before = sum(int(value.isnan().sum()) for value in inputs if isinstance(value, torch.Tensor))
    after = [int(value.isnan().sum()) for value in results if isinstance(value, torch.Tensor)]
    print(f"NaN: {before} in the inputs, {after} in the results")
    sys.exit(1 if not before and any(after) else 0)
"""
