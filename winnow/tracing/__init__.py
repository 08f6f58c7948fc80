"""From a training example back to all that it was made of."""
