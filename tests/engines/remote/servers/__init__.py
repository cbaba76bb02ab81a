"""Tests of hermes_cli/engines/remote/servers."""
