"""`captionloop bench`: how much faster than plain `transformers` we are, on the machine it runs on.

`plain` is what we compare with, as a user would write it; `ours` does the same with our own code; `parts` says what is
compared. Each of the two runs in a process of its own and they take turns, so that both meet the same machine.
"""
