"""What each command prints, for people and for machines."""
