"""From corpora to model folders: splits, sentence streams, the training loop and its recipes."""
