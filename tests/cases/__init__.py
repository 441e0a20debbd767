"""Games and surroundings that several tests share."""
