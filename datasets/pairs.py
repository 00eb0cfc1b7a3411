"""Generated pairs of sentences, a source and its target, for sequence-to-sequence models."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from .listing import Listed

DOMAIN = 0x9A175  # keeps these random streams apart from others that are seeded with [seed, index], too
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ANIMALS = (
    "ant", "bear", "cat", "dog", "eel", "fox", "goat", "hen", "ibis", "jackal", "koala", "lion", "mole", "newt", "owl",
    "pig", "quail", "rat", "seal", "toad",
)  # fmt: skip


class _Pairs:
    """n samples {"id", "text", "target"}; sample i depends on (seed, i) alone: take two seeds to train and to test."""

    def __init__(self, n: int, seed: int = 0):
        if n < 1 or seed < 0:
            raise ValueError(f"{type(self).__name__}: need n >= 1 and seed >= 0, got {n} and {seed}")
        self.n, self.seed = n, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict:
        index = range(self.n)[index]  # negative indices count from the end; IndexError beyond
        text, target = self._pair(np.random.default_rng([DOMAIN, self.seed, index]))
        return {"id": f"{type(self).__name__.lower()}-{self.seed}-{index}", "text": text, "target": target}

    def listing(self) -> Iterator[Listed]:
        """The id and length of each text: both follow from the seed."""
        return (Listed(f"{type(self).__name__.lower()}-{self.seed}-{index}", ()) for index in range(self.n))


class Dates(_Pairs):
    """A day between 1900 and 2099 in one of many forms, and as year-month-day: "3 march 2021" -> "2021-03-03".

    Forms: "march 3, 2021", "wed 3rd of mar 2021", "wednesday, 3.3.2021", "3 mar 21" (of 2000 to 2099), ... To be read
    by the character.
    """

    level = "char"

    def _pair(self, rng):
        day = FIRST + timedelta(days=int(rng.integers((LAST - FIRST).days + 1)))
        d, year = day.day, str(day.year)
        if day.year >= 2000 and rng.random() < 0.3:
            year = year[2:]
        month = MONTHS[day.month - 1]
        if rng.random() < 0.5:
            month = month[:3]
        nth = f"{d}{_ending(d)}" if rng.random() < 0.5 else str(d)
        forms = (
            f"{nth} {month} {year}",
            f"{nth} of {month} {year}",
            f"{month} {nth}, {year}",
            f"{month} {nth} {year}",
            f"{d}.{day.month}.{year}",
            f"{d:02}/{day.month:02}/{year}",
        )
        text = forms[rng.integers(len(forms))]
        name = DAYS[day.weekday()]
        if rng.random() < 0.3:
            text = f"{name if rng.random() < 0.5 else name[:3]}{', ' if rng.random() < 0.5 else ' '}{text}"
        return text, day.isoformat()


class Reversal(_Pairs):
    """8 to 20 animals, and the same from the last to the first: "ant bear cat" -> "cat bear ant". Read by the word."""

    level = "word"

    def _pair(self, rng):
        words = [ANIMALS[i] for i in rng.integers(len(ANIMALS), size=rng.integers(8, 21))]
        return " ".join(words), " ".join(reversed(words))


def _ending(day):
    if 11 <= day <= 13:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
