"""From files to ids: corpora, vocabularies, tokenizers."""
