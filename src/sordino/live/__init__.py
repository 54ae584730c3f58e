"""Live use: a microphone in, a clean virtual microphone out."""
