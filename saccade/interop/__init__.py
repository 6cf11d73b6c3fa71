"""The doors: what other programs write is read here, and what they read is written."""
