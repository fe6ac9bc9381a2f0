"""What has been answered, measured and run, for people and for machines."""
