"""What was recorded of an entry of a compile cache, kept beside it, and written again when the entry is loaded.

    keep.py       when something is compiled: its events and files -> one file beside the cache's entry
    read_back.py  when it is loaded: that file -> the same events and files, said to be read back
    loading.py    the load of a whole model, of which nothing is said before it is over
    collect.py    what a recording holds of a compilation, or of one artifact of Inductor
    replay.py     writes it again
    file.py       the file: a zip of plain text, its digests checked; nothing in it is ever executed

An entry is a whole model (vLLM's AOT artifact, our compiler's kept model), a piece for a range, or a graph in
Inductor's own cache. docs/decisions/0013-kept-recordings.md says why it is done so.
"""
