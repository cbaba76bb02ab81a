"""Terminal output: streams, widths, colors, and the rendering of Markdown."""
