"""Systems with a Python interface, each in its own interpreter, driven line by line on the batches of `batches.json`."""
