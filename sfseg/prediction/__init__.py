"""From a stack and a network to a membrane map, tile by tile."""
