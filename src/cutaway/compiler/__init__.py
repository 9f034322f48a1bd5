"""The piecewise compiler: what vLLM-compile does, as a library for any PyTorch model."""
