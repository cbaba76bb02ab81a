"""Streaming Markdown: finished text is laid out once, and only a short tail is laid out again.

`blocks` finds the leaves of a text (paragraphs, code, tables …), `inline` styles the text in a leaf, `code`
highlights code, `layout` turns a leaf into rows of a given width, and `stream` decides which rows are final.
"""
