"""JoeyNMT trained by its own trainer until it translates well: seconds of training to a given BLEU."""
