"""Score membrane maps: the official V_Rand and V_Info, Dice and Jaccard."""
