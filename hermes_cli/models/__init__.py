"""Chooses, downloads and inspects models, and plans how they run on this machine.

This package never loads a model: it reads headers, counts bytes and downloads files.
"""
