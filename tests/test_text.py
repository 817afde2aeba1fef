"""Cleaning texts, chunking and tokenizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from data_helpers import SETTINGS
from fusionzoo.data.data_settings import DataSettings, TextStep
from fusionzoo.data.text import cleaning, text_tokenizer, word_vectors
from fusionzoo.data.text.cleaning import Messages, clean_messages, join_columns
from fusionzoo.errors import DataError, EmbeddingsError, SettingError, TokenizerError
from shop import lists

STEPS: list[TextStep] = ["dialogue_splitter", "html_normalizer", "emoji_remover", "text_normalizer"]


def clean(text: str, steps: list[TextStep] = STEPS) -> list[str]:
    return clean_messages([text], steps).texts


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a text without marks", ["a text without marks"]),
        ("[bom]one[eom][bom]two[eom]", ["one", "two"]),
        ("before [bom]one[eom] between [bom]two", ["before", "one", "between", "two"]),
        ("", []),
        ("  \n ", []),
        ("[bom][eom]", []),
        ("<p>a</p><p>b</p>", ["a b"]),
        ("<b>wo</b>rd", ["word"]),
        ("one<br>two<br/>three", ["one two three"]),
        ("5 < 6 &amp; 7 &gt; 3", ["5 < 6 & 7 > 3"]),
        ("5 < 6 & 7 > 3", ["5 < 6 & 7 > 3"]),
        ("a<script>evil()</script>b<style>x</style>", ["ab"]),
        ("good 👍🏽 day 👨‍👩‍👧‍👦 in 🇩🇪 ❤️", ["good day in"]),
        ("room 42 # 7*", ["room 42 # 7*"]),
        ("漢字 العربية हिन्दी עברית", ["漢字 العربية हिन्दी עברית"]),
        ("می\u200cخواهم क्\u200dष", ["می\u200cخواهم क्\u200dष"]),
        ("null\0byte  and\n\n space", ["null byte and space"]),
        ("e\u0301", ["\u00e9"]),
    ],
)
def test_cleaning_keeps_text_and_removes_markup_and_emoji(text: str, cleaned: list[str]) -> None:
    assert clean(text) == cleaned


def test_steps_run_in_the_given_order_and_without_steps_the_text_is_unchanged() -> None:
    raw = "[bom]<b>a</b> 😀  b[eom]"
    assert clean(raw, []) == [raw]
    assert clean(raw, ["html_normalizer"]) == ["[bom]a 😀  b[eom]"]
    assert clean("&#91;bom]a&#91;eom]b", ["html_normalizer", "dialogue_splitter"]) == ["a", "b"]
    assert clean("&#91;bom]a", ["dialogue_splitter", "html_normalizer"]) == ["[bom]a"]


def test_several_text_columns_start_with_their_names() -> None:
    title, body = Messages(["Nice", "T"], np.array([1, 0, 1])), Messages(["one", "two", "b"], np.array([2, 1, 0]))
    joined = join_columns({"title": title, "body": body})
    assert joined.texts == ["title: Nice", "body: one", "two", "body: b", "title: T"]
    assert joined.counts.tolist() == [3, 1, 1]
    assert join_columns({"body": body}) == body


def test_messages_are_counted_for_each_row() -> None:
    messages = clean_messages([None, "[bom]a[eom][bom]b[eom]", "", "c", "<p>"], STEPS)
    assert (messages.texts, messages.counts.tolist()) == (["a", "b", "c"], [0, 2, 0, 1, 0])
    assert clean_messages([], STEPS).counts.tolist() == []


# --- tokenizers


def fit_words(texts: list[str], **changes: int) -> text_tokenizer.TextTokenizer:
    counter = text_tokenizer.WordCounter()
    counter.add(texts)
    return counter.fit(**{"vocab_size": 100, "min_count": 1, **changes})


def test_words_are_lower_cased_and_counted_and_rare_ones_are_unknown() -> None:
    tokenizer = fit_words(["Red red, blue", "RED blue green"], min_count=2)
    assert tokenizer.backend.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "red": 2, "blue": 3}
    assert lists(tokenizer.encode(["Red green"])) == [[2, 1]]
    assert fit_words(["a a b"], vocab_size=3).vocab_size == 3
    with pytest.raises(DataError, match="no word occurs at least 5 times"):
        fit_words(["a b"], min_count=5)


def test_minilm_has_its_special_tokens_and_encodes_no_text_as_one(minilm: str) -> None:
    tokenizer = text_tokenizer.load_tokenizer(minilm)
    assert (tokenizer.prefix, tokenizer.suffix, tokenizer.pad_id) == ((101,), (102,), 0)
    assert tokenizer.vocab_size == 30_522
    assert not {101, 102} & set(tokenizer.encode(["a [SEP] b [CLS]"]).values.tolist())


@pytest.mark.parametrize(
    ("template", "prefix", "suffix"),
    [("<s> $A </s>", (1,), (2,)), ("$A </s>", (), (2,)), (None, (), ())],
)
def test_special_tokens_are_detected_for_every_template(
    template: str | None, prefix: tuple[int, ...], suffix: tuple[int, ...]
) -> None:
    backend = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "a": 4}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<pad>", "<s>", "</s>", "<unk>"])
    if template:
        specials = [(t, i) for t, i in (("<s>", 1), ("</s>", 2)) if t in template]
        backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=specials)
    tokenizer = text_tokenizer.wrap_tokenizer("tiny", backend, 0)
    assert (tokenizer.prefix, tokenizer.suffix) == (prefix, suffix)
    assert lists(tokenizer.encode(["a zzz"])) == [[4, 3]]


def test_a_missing_tokenizer_is_an_error_that_names_it() -> None:
    with pytest.raises(SettingError, match='tokenizer = "/no/such/folder"'):
        text_tokenizer.load_tokenizer("/no/such/folder")


# --- word vectors


@pytest.fixture
def encoded() -> tuple[text_tokenizer.TextTokenizer, word_vectors.EncodedSplit]:
    import pyarrow as pa

    from fusionzoo.data.fit_preprocessor import fit_preprocessor
    from fusionzoo.data.reading.rows import Rows
    from shop import shop_rows

    table = pa.Table.from_pandas(shop_rows(50), preserve_index=False).combine_chunks()
    rows = Rows({n: table[n].chunk(0) for n in table.column_names}, "train", 1, typed=True)
    fitted = fit_preprocessor(SETTINGS, [rows]).preprocessor
    assert fitted.text is not None
    return fitted.text.tokenizer, fitted.encode([rows], "train")


@pytest.mark.parametrize("method", ["word2vec", "fasttext", "random"])
def test_vectors_depend_on_the_seed_and_padding_is_zero(method: str, encoded: tuple) -> None:  # type: ignore[type-arg]
    tokenizer, split = encoded
    settings = SETTINGS.model_copy(update={"embeddings": method})
    first, second, other = (word_vectors.build_word_vectors(settings, tokenizer, split, seed) for seed in (1, 1, 2))
    assert first.shape == (tokenizer.vocab_size, 4)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert not first[0].any()
    assert first[1:].any(axis=1).all()


@pytest.mark.parametrize("method", ["word2vec", "fasttext"])
def test_trained_vectors_have_one_scale(method: str, encoded: tuple) -> None:  # type: ignore[type-arg]
    tokenizer, split = encoded
    settings = SETTINGS.model_copy(update={"embeddings": method})
    vectors = word_vectors.build_word_vectors(settings, tokenizer, split, 0)
    words = np.unique(split.tokens)
    assert np.sqrt(np.square(vectors[words]).mean(axis=1)) == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(("tokens", "epochs"), [(0, 150), (1000, 150), (156_000, 39), (2_000_000, 5), (10**9, 5)])
def test_small_texts_are_read_more_often_for_the_vectors(tokens: int, epochs: int) -> None:
    assert word_vectors.count_epochs(tokens) == epochs


@pytest.mark.parametrize(("method", "model"), [("word2vec", "Word2Vec"), ("fasttext", "FastText")])
def test_gensim_reads_a_small_text_often(method: str, model: str, encoded: tuple, monkeypatch) -> None:  # type: ignore[type-arg, no-untyped-def]
    import gensim.models

    tokenizer, split = encoded
    train, epochs = getattr(gensim.models, model), []
    monkeypatch.setattr(
        gensim.models, model, lambda *a, **k: train(*a, **k | {"epochs": epochs.append(k["epochs"]) or 1})
    )
    word_vectors.build_word_vectors(SETTINGS.model_copy(update={"embeddings": method}), tokenizer, split, 0)
    assert epochs == [word_vectors.count_epochs(len(split.tokens))]


@pytest.mark.parametrize("name", ["v.txt", "glove.txt", "v.bin", "v.txt.gz"])
def test_vectors_are_read_from_a_file(name: str, tmp_path, encoded: tuple) -> None:  # type: ignore[type-arg, no-untyped-def]
    import gzip

    from gensim.models import KeyedVectors

    tokenizer, split = encoded
    vectors = KeyedVectors(3)
    vectors.add_vectors(["late", "red"], np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    path = tmp_path / name
    if name == "v.txt.gz":
        vectors.save_word2vec_format(str(tmp_path / "plain.txt"))
        path.write_bytes(gzip.compress((tmp_path / "plain.txt").read_bytes()))
    else:
        vectors.save_word2vec_format(str(path), binary=name == "v.bin", write_header=name != "glove.txt")
    settings: DataSettings = SETTINGS.model_copy(update={"embeddings": str(path)})
    table = word_vectors.build_word_vectors(settings, tokenizer, split, 0)
    assert table[tokenizer.backend.token_to_id("late")].tolist() == [1, 2, 3]
    assert table.shape[1] == 3


def test_vectors_that_cannot_be_loaded_are_an_error_with_the_cause(tmp_path, encoded: tuple) -> None:  # type: ignore[type-arg, no-untyped-def]
    tokenizer, split = encoded
    with pytest.raises(EmbeddingsError, match="neither a file nor"):
        word_vectors.check_embeddings_source(SETTINGS.model_copy(update={"embeddings": "word3vec"}))
    (tmp_path / "junk.txt").write_text("not vectors at all\nx")
    settings = SETTINGS.model_copy(update={"embeddings": str(tmp_path / "junk.txt")})
    with pytest.raises(EmbeddingsError, match=r"junk\.txt"):
        word_vectors.check_embeddings_source(settings)
    (tmp_path / "junk.txt").write_text("red 0.1 0.2\nx")
    word_vectors.check_embeddings_source(settings)
    with pytest.raises(EmbeddingsError, match=r"junk\.txt', line 2"):
        word_vectors.build_word_vectors(settings, tokenizer, split, 0)


# --- texts that earlier versions damaged, or needed quadratic time for


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("mail <joe@x.com> or <3", "mail <joe@x.com> or <3"),
        ("if a<b then c", "if a<b then c"),
        ("seen <!-- and never closed", "seen and never closed"),
        ("the <script> tag hides nothing", "the tag hides nothing"),
        ("a<!-- <b>hidden</b> -->b", "ab"),
        ("<SCRIPT type='x'>if (a<b) evil()</SCRIPT >ok", "ok"),
        ('<a title="x>y">link</a> <p class=it\'s>text', "link text"),
        ("AT&T; &copy=1 &amp;lt; &#128512;", "AT&T; &copy=1 &lt;"),
        ("&#99999999999999;&#0;", "&#99999999999999;\ufffd"),
        ("<!DOCTYPE html><?xml version='1'?><td>1</td><td>2</td>", "1 2"),
        ("key 1️⃣ and #️⃣, ▶️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🧑🏿‍🚀 ™", "key 1 and # , ™"),
        ("😀\u200d😀क्\u200dष", "क्\u200dष"),
        ("❶ first ② second 🄁", "❶ first ② second 🄁"),
    ],
)
def test_text_that_only_looks_like_markup_or_emoji_stays(text: str, cleaned: str) -> None:
    assert clean(text) == [cleaned]


@given(st.text(st.characters(categories=["L", "N", "Mc"], include_characters="\u200c\u200d<>&;\"'/!-"), min_size=1))
def test_letters_and_digits_of_any_language_are_kept(text: str) -> None:
    broken = text.replace("<", "< ").replace("&", "& ")  # no tag and no entity
    assert clean(broken, ["html_normalizer", "emoji_remover"]) == [broken]


@pytest.mark.parametrize(
    "piece",
    ["<div>", "<p>a</p>", "<!--", "<a", '<a href="', "<script>", "<", "&a", "[bom]", "😀\u200d", "a", "</", "<!["],
)
def test_half_a_million_repetitions_are_cleaned_like_a_thousand(piece: str) -> None:
    short, long = ("".join(clean(piece * times)).replace(" ", "") for times in (1_000, 500_000))
    assert len(long) == 500 * len(short)


@pytest.mark.parametrize("tag", ["<script>", "<style>", "<!--"])
def test_a_missing_closing_tag_is_searched_for_once(tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searching again after each tag would take time that grows with the square of the length."""
    searches = 0

    class NeverFound:
        def search(self, text: str, position: int) -> None:
            nonlocal searches
            searches += 1

    monkeypatch.setattr(cleaning, "_INVISIBLE_UNTIL", dict.fromkeys(("script", "style", "!--"), NeverFound()))
    assert clean(f"{tag}a " * 1_000) == [" ".join(["a"] * 1_000)]
    assert searches == 1


def byte_level(**special: int) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {**special, **{letter: len(special) + i for i, letter in enumerate(alphabet)}}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens(list(special))
    return backend


def test_a_tokenizer_like_roberta_or_gpt2_encodes_no_text_as_a_special_token() -> None:
    roberta = byte_level(**{"<s>": 0, "<pad>": 1, "</s>": 2})
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer = text_tokenizer.wrap_tokenizer("roberta", roberta, 1)
    assert (tokenizer.prefix, tokenizer.suffix) == ((0,), (2,))
    assert len(tokenizer.encode(["<s>a</s>"]).values) == 8
    restored = text_tokenizer.restore_tokenizer("roberta", tokenizer.backend.to_str(), 1)
    assert lists(restored.encode(["<s>a</s>"])) == lists(tokenizer.encode(["<s>a</s>"]))
    gpt2 = text_tokenizer.wrap_tokenizer("gpt2", byte_level(**{"<|endoftext|>": 0}), None)
    assert (gpt2.prefix, gpt2.suffix, gpt2.pad_id) == ((), (), 0)
    assert len(gpt2.encode(["<|endoftext|>"]).values) == 13


@pytest.mark.parametrize("states_roles", [True, False])
def test_special_tokens_without_a_role_are_words_of_a_text(tmp_path: Path, states_roles: bool) -> None:
    special = {"[CLS]": 0, "[PAD]": 1, "[END]": 2, "[MASK]": 3, "<url>": 4, "<|user|>": 5}
    backend = byte_level(**special)
    backend.post_processor = processors.RobertaProcessing(("[END]", 2), ("[CLS]", 0))
    roles = {"cls_token": "[CLS]", "sep_token": "[END]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    loaded = PreTrainedTokenizerFast(tokenizer_object=backend, **(roles if states_roles else {}))
    loaded.save_pretrained(tmp_path)
    tokenizer = text_tokenizer.load_tokenizer(str(tmp_path))
    assert (tokenizer.prefix, tokenizer.suffix) == ((0,), (2,))
    restored = text_tokenizer.restore_tokenizer("x", tokenizer.backend.to_str(), tokenizer.pad_id)
    for text in ("a<url>b", "<|user|>", "<url> <url>"):
        expected = loaded(text, add_special_tokens=False)["input_ids"]
        assert {4, 5} & set(expected)
        assert lists(tokenizer.encode([text])) == lists(restored.encode([text])) == [expected]
    for role in roles.values():
        assert special[role] not in lists(tokenizer.encode([f"a{role}b"]))[0]


def test_a_tokenizer_like_t5_with_special_tokens_in_its_model_encodes_no_text_as_one() -> None:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -3.0) for piece in "▁ab</s>")]
    backend = Tokenizer(models.Unigram(list(dict(pieces).items()), unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = text_tokenizer.wrap_tokenizer("t5", backend, 0)
    assert (tokenizer.prefix, tokenizer.suffix) == ((), (1,))
    plain, marked = lists(tokenizer.encode(["ab", "a</s>b"]))
    assert 1 not in marked
    assert plain[0] == marked[0]
    assert plain[-1] == marked[-1]


def test_a_folder_without_a_vocabulary_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(TokenizerError):
        text_tokenizer.load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text('{"version":')
    with pytest.raises(TokenizerError):
        text_tokenizer.load_tokenizer(str(tmp_path))
