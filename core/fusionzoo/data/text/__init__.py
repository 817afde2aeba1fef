"""The text of a row: cleaned and divided into messages (`cleaning`), tokenized (`text_tokenizer`), divided into chunks
(`chunking`); and vectors for the vocabulary of tokenizer `word` (`word_vectors`), also from files
(`word_vector_files`)."""
