"""The drawing of a graph in layers: what is folded, which rank a box has, its place in it, the lines between.

Pure, and of graphs only: it knows nothing of tasks' words, of colours, of HTML. `fold` makes boxes of tasks, `layout`
places boxes; what is drawn in them is of `pages.dag`. The same graph gives the same picture, always.
"""
