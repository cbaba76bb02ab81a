"""Personas and lorebooks as other programs write them, each format in a file of its own.

It knows those formats and the values they become, Persona and Lorebook. It refuses to know folders, the
screen, and what a conversation makes of a persona.
"""
