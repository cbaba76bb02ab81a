"""Markdown as it streams: what is finished is laid out once, and only a short tail is laid out again.

`blocks` finds the leaves of a text (paragraphs, code, tables …), `inline` styles what is written in one,
`code` highlights, `layout` makes rows of a leaf at a width, and `stream` decides which rows are final.
"""
