"""Pages to look at: one self-contained HTML file each, without scripts and requests, and the same as Markdown."""
