"""What a comparison of architectures is made of: its protocol, its results, its table."""
