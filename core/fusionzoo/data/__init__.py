"""Data: from part files to encoded splits and batches of row numbers. Imports no torch, because serving uses it too.

In the order in which a job uses it:

- `data_settings`: the settings that decide how rows are read and encoded.
- `reading/`: channels, part files and raw rows. `splitting`: one channel divided into train, val and test.
- `fit_preprocessor`: fits a `preprocessor` on train. `leakage`: warns of leaks and of columns in the wrong role.
- `text/`: cleaning, tokenizing, chunking, word vectors. `table/`: categories and numbers. `labels`, `ids`.
- `encoding`: encodes every split once, with results stored in the `cache`; `code_fingerprint` is part of its keys.
- `encoded`: an encoded split. `array_store`: its files. `row_digests`: finds rows that are also in train.
- `sampling`: which rows form a batch. `modality_dropout`: drops the text or the table of a batch's rows.
- `ragged`, `hashing`, `bottom_k`: lists of different lengths, hashes, and a sample of a stream.
"""
