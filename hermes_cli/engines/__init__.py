"""Adapters to models, behind the one Protocol in `base.py`."""
