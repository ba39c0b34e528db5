"""From stacks with labels to the weights of a network."""
