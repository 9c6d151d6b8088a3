"""Safe rendering: cells' outputs, source and Markdown as HTML that cannot run anything; postmortems.

Everything that arrives here is hostile until shown otherwise: it came out of a kernel, or a person typed it.
"""
