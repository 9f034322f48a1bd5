"""What an implementation is traced into, kept and put in again.

lowering pass
  key        the arguments of a node, described: what tracing can tell apart
  facts      ... and what is known of the symbols in their sizes
  trace      an implementation as nodes (steps), once for each key
  recipe     what each node returns, so that it can be made again for other symbols and another fake mode
  insert     the steps as nodes of a graph, in the place of the one that they replace
  cache      key -> steps and recipes; bounded, shared by all pieces and ranges of a process
"""
