"""What an implementation is traced into, kept and put in again.

lowering pass
  call       a node of an op: its arguments, the provider that takes them, what that is traced into
  key        the arguments described: all that tracing can tell apart
  facts      ... and what is known of the symbols in their sizes
  identity   ... and by what the implementation is known
  trace      an implementation as steps, once for each key
  recipe     what each step returns, so that it can be made again for other symbols and another fake mode
  cache      key -> recipe; bounded, one for all pieces and ranges of a process
  insert     steps as nodes of a graph, in the place of the one that they replace
"""
