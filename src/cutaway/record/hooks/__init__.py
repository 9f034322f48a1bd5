"""Where torch lets us look, and what each place tells the recorder.

    trace_structured          names of stages and, exactly, the graph each is about; caches, guards, metrics
    lazy_format_graph_code    the live graph at Dynamo, AOTAutograd, the last graph; passes of the engine
    GraphTransformObserver    before and after every named pass of Inductor
    CompiledFxGraph           the generated code, on a cache miss and on a hit
    kernel provenance         which nodes a kernel was made of

    install.py     puts the hooks in, and takes them out
    stages.py      graphs that are logged
    trace.py       what the structured trace says of caches, guards, breaks, times
    passes.py      passes that begin and end
    artifacts.py   code that was generated, or that a cache served

Nothing is patched unless a recording is on, and a module that the program has not imported is not imported for it:
hooks into Inductor are put in when the first event from it arrives. Handlers only read.
"""

from cutaway.record.hooks.install import Hooks
from cutaway.record.hooks.trace import Payload

__all__ = ["Hooks", "Payload"]
