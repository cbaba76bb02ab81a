"""The shell verbs, one file each: parse, wire, call."""
