"""Persona files as other programs and people write them, with what an import must find and lose."""
