"""Change grey values and orientations before a network sees them."""
