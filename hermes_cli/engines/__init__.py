"""Inference engines, which implement the `Engine` protocol in `base.py`."""
