"""What the experiment file may say, and what it says."""
