"""`captionloop bench`: speed against plain `transformers` on this machine.

`plain` is the baseline, as a user would write it; `ours` does the same with our code; `parts` has the comparisons. Both
run in their own processes and take turns, so that both see the same load.
"""
