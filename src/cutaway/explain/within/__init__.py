"""The hands: what follows the switches within the process of a trial, and writes down what it sees.

vLLM's adapter · our compiler · torch.compile
    │ split graph, compiled pieces
    ▼
Hands ──► Forward: one model's calls ──► Piece: its calls ──► reference: its eager graph, in float64 too
                                                │
                                                ▼
                                             Journal: lines of JSON, each written before the next thing is tried
"""
