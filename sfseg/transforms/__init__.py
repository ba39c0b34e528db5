"""What is done to grey values and orientations before a network sees them."""
