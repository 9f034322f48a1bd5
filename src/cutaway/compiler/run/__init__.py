"""7. Replay: CUDA graphs around pieces, or around the whole.

engine ── batch_context(descriptor, mode) ──┐       context.py   what the engine says of the batch that runs
                                            ▼
CUDAGraphDispatcher    whole: CUDAGraphWrapper      dispatch.py  which sizes are captured; a batch -> its graph
                                │                   cuda_graph.py  capture once for each descriptor, then replay
                                ▼
                       stitching code: CUDAGraphWrapper for each piece
                                            │
                                            ▼
                           GraphPool ── GraphBackend    graphs.py  CUDA's graphs, and a fake that records
"""
