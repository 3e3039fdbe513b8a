"""A vocabulary that follows the corrections: what people write in their own language, the model learns to write."""
