"""What `import captionloop as cl` offers to notebooks and scripts; `captionloop train` and `compare` use the same code.

The exports are in `exports.py`, which `captionloop` imports when one of them is first used.
"""
