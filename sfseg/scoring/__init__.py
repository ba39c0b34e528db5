"""How good a membrane map is: the official V_Rand and V_Info, Dice and Jaccard."""
