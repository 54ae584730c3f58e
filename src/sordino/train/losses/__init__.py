"""What training minimises, one measure a file."""
