"""Plans how a model runs on this machine: the engine, precision, device and context size, with the reason.

Planning depends only on the hardware, the model and the request. It reads no files, queries no devices and
imports no engine.
"""
