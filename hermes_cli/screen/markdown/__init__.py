"""Streaming Markdown: final text is laid out once, and only a short tail is laid out again.

`block_structure` finds the leaf blocks (paragraphs, code, tables …), `inline` styles the text in a leaf,
`code` highlights code, `layout` turns a leaf into rows, and `stream` decides which rows are final.
"""
