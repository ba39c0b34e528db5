"""How fast networks run on this machine, as ratios measured in one run."""
