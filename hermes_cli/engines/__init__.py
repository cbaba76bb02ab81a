"""Inference engines, behind the `Engine` Protocol in `base.py`."""
