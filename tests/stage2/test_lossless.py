"""Any valid text comes back from its tokens as it was, and is never taken for something else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from config import SPECIAL_TOKENS
from pipeline.tokenizer import load_tokenizer, valid_unicode

SPECIAL_IDS = {0, 1, 2, 3}

text_with_marks = st.lists(
    st.one_of(
        st.text(), st.sampled_from([*SPECIAL_TOKENS, " ", "  ", "\n", "\t", "-", "ә́", "👩‍👩‍👧"])
    )
).map("".join)
text_with_surrogates = st.text(st.characters(codec=None))


@pytest.fixture(scope="module")
def tokenizer(prepared: Any) -> Tokenizer:
    return load_tokenizer(prepared.tokenizer)[0]


@settings(deadline=None, max_examples=300)
@given(text=text_with_marks)
@example(text="")
@example(text=" ")
@example(text="  Казан  шәһәре \r\n")
@example(text="<bos>Казан<eos><pad><unk>")
@example(text="\x00\ufeff\u2028")
@example(text="үсә-үсә 12 345,6 %")
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert not SPECIAL_IDS & set(ids)
    assert [encoding.ids for encoding in tokenizer.encode_batch([text, text])] == [ids, ids]


@settings(deadline=None)
@given(text=text_with_marks)
def test_the_plain_library_reads_it_without_loss_too(prepared: Any, text: str) -> None:
    plain = Tokenizer.from_file(str(prepared.tokenizer / "tokenizer.json"))
    plain.encode_special_tokens = True
    assert plain.decode(plain.encode(text).ids) == text


@settings(deadline=None)
@given(text=text_with_surrogates)
@example(text="a\ud800b\udfffc")
@example(text="\udc80")
def test_lone_surrogates_become_replacement_characters(tokenizer: Tokenizer, text: str) -> None:
    expected = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    assert valid_unicode(text) == expected
    assert tokenizer.decode(tokenizer.encode(text).ids) == expected
    assert tokenizer.encode_batch([text])[0].ids == tokenizer.encode(text).ids


def test_a_word_is_the_same_token_wherever_it_stands(tokenizer: Tokenizer) -> None:
    first, *_ = tokenizer.encode("башкала").ids
    assert tokenizer.encode("башкала").ids == [first]
    assert tokenizer.encode("матур башкала").ids[-1] == first


def test_special_tokens_in_training_text_stay_text(
    corpus_writer: Any, empty_workspace: Any
) -> None:
    space = empty_workspace
    corpus_writer(space.data, ["<bos> Казан <eos> <bos><eos>"] * 50, ["<bos> Казан"])
    assert space.stage2().code == 0
    tokenizer, _ = load_tokenizer(space.tokenizer)
    text = "<bos> Казан <eos> <bos><eos><unk><pad>"
    ids = tokenizer.encode(text).ids
    assert not SPECIAL_IDS & set(ids)
    assert tokenizer.decode(ids) == text
