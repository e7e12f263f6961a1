"""Networks run elsewhere than in eager PyTorch: a step written as a file, the file run by the same engine."""
