"""Data: from part files to encoded splits and batches of row numbers. Imports no torch, because serving uses it too.

In the order in which a job uses it:

- `data_settings`: the settings that decide how rows are read and encoded.
- `reading/`: channels, part files and raw rows. `splitting`: one channel divided into train, val and test.
- `fit_preprocessor`: fits a `preprocessor` on train, and collects problems in a `problem_log`.
- `leakage`: warns of leaks and of columns in the wrong role. `similar_values`: warns of values that differ in spaces
  only. `split_report`: what train does not know of other splits.
- `null_words`: the words for a missing value. `text/`: cleaning, tokenizing, chunking, word vectors. `table/`:
  categories and numbers. `targets/`: the columns to predict. `ids`: the ids of rows.
- `encoding`: encodes every split once, with results stored in the `cache`.
- `encoded`: an encoded split. `array_store`: its files. `row_digests`: finds rows that are also in train.
- `sampling`: which rows form a batch. `modality_dropout`: drops the text or the table of a batch's rows.
- `ragged`, `hashing`, `bottom_k`, `value_codes`: lists of different lengths, hashes, a sample of a stream, and integer
  codes of values. `model_files`: reads the files of a model folder.
"""
