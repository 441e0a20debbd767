"""What is true, in slow loops that import nothing under test."""
