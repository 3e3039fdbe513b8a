"""What both sides of the comparison share, and what there is to compare. Light, as the help shows some of it."""

KEYS = ("latency", "bulk", "recaption", "train_decoder", "train_full", "serve", "starter_latency", "starter_bulk")

BEAMS, SHORTEST, LONGEST = 3, 5, 20
BATCH = 16  # pictures captioned at once, where there are many
PLAIN_TRAINING_BATCH = 4  # more examples at once take the plain way longer for each
CLIENTS = 8
PICTURES = 256  # distinct ones
PER_TURN = 64  # of them captioned by us before the other side is asked again, which takes a batch
TRAINING_TOKENS = 12  # of the caption that is trained on
