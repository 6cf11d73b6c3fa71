"""What a model does, shown to people: pictures of where it looked."""
