import numpy as np
import pytest

from vision.sequence.vocabulary import Vocabulary, tokenise

SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")


@pytest.mark.parametrize(
    "text, words",
    [
        ("A man, riding a Horse.", ["a", "man", "riding", "a", "horse"]),
        ("don't 'quote' o\u2019clock rock'n'roll'", ["don't", "quote", "o'clock", "rock'n'roll"]),
        ("2 dogs_and-3.5\n\tcats", ["2", "dogs", "and", "3", "5", "cats"]),
        ("Émile ÜBER 日本", ["émile", "über", "日本"]),
        ("", []),
        (" ... ", []),
        ("यह एक हिन्दी वाक्य है", "यह एक हिन्दी वाक्य है".split()),
        ("হাতি ঘাস খায", ["হাতি", "ঘাস", "খায"]),
        ("நாய் ஓடுகிறது.", ["நாய்", "ஓடுகிறது"]),
        ("un e\u0301le\u0300ve", ["un", "\xe9l\xe8ve"]),
        ("U\u0308BER b\u0301", ["\xfcber", "b\u0301"]),
        ("\u2764\ufe0fdog \u0301", ["dog"]),  # marks without a letter
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("狗在跑。猫", ["狗在跑", "猫"]),
    ],
)
def test_words(text, words):
    assert tokenise(text) == words


def test_characters_are_not_changed():
    assert tokenise("A b\n", "char") == ["A", " ", "b", "\n"]
    assert tokenise("e\u0301", "char") == ["\xe9"]


def test_build_puts_the_frequent_first_and_leaves_out_the_rare():
    texts = ["the cat and the dog", "The bird and a cat"]
    assert Vocabulary.build(texts).words == (*SPECIAL, "the", "and", "cat", "a", "bird", "dog")
    assert Vocabulary.build(texts, min_count=2).words == (*SPECIAL, "the", "and", "cat")
    assert Vocabulary.build(["aab", "b "], level="char").words == (*SPECIAL, "a", "b", " ")


def test_encode_and_decode():
    vocabulary = Vocabulary.build(["the cat and the dog"], min_count=1)
    ids = vocabulary.encode("The zebra and the cat!", start=True, end=True)
    assert ids.dtype == np.int64
    assert ids.tolist() == [1, 4, 3, 5, 4, 6, 2]
    assert vocabulary.decode(ids) == "the <unk> and the cat"
    assert vocabulary.decode([0, 4, 0, 6, 2, 4, 4]) == "the cat"
    assert vocabulary.decode([]) == ""
    assert vocabulary.encode("").tolist() == []
    assert vocabulary.encode("", start=True, end=True).tolist() == [1, 2]


def test_text_comes_back_from_characters():
    text = "To be, or\nnot?"
    vocabulary = Vocabulary.build([text], level="char")
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.encode("t\u00fc").tolist() == [vocabulary.ids["t"], vocabulary.unknown]


def test_one_symbol_is_enough():
    vocabulary = Vocabulary.build(["aaaa"], level="char")
    assert len(vocabulary) == 5
    assert vocabulary.encode("aa").tolist() == [4, 4]


def test_the_words_make_the_same_vocabulary_again():
    vocabulary = Vocabulary.build(["a b c a"])
    again = Vocabulary(list(vocabulary.words))
    assert again.words == vocabulary.words
    assert again.encode("c b a").tolist() == vocabulary.encode("c b a").tolist()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Vocabulary(["a", "b"]), "words must begin with <pad>, <start>, <end>, <unk>, got 'a', 'b': see"),
        (lambda: Vocabulary([]), "words must begin with .*, got none"),
        (lambda: Vocabulary([*SPECIAL, "a", "b", "a"]), "'a' is there twice"),
        (lambda: Vocabulary([*SPECIAL, "ab"], "char"), "words of level 'char' must be single characters, got 'ab'"),
        (lambda: Vocabulary([*SPECIAL, 5]), "words of level 'word' must be text, got 5"),
        (lambda: Vocabulary(SPECIAL, "letter"), "level must be 'word' or 'char', got 'letter'"),
        (lambda: Vocabulary.build([]), r"no word occurs 1 times in the texts \(at most 0 times\)"),
        (lambda: Vocabulary.build(["", "..."]), "no word occurs 1 times"),
        (lambda: Vocabulary.build(["a b b"], 3), r"no word occurs 3 times in the texts \(at most 2 times\)"),
        (lambda: Vocabulary.build("a b b"), "texts must be a list of texts, got one text"),
        (lambda: Vocabulary.build(["a"]).decode([5]), r"ids must be in 0 \.\. 4, got 5"),
        (lambda: Vocabulary.build(["a"]).decode([-1]), r"ids must be in 0 \.\. 4, got -1"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=f"Vocabulary: {message}"):
        make()
