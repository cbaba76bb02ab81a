"""Fakes of model servers on loopback sockets, written from the public documentation of each."""
