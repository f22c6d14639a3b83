"""From what a model said to what a trainer reads: cleaned, with the trigger words in front, and checked."""

import re
import unicodedata

_KIND = (
    r"close-?up|(?:full|upper|half)[ -]?(?:body|length)|head|studio|cropped|blurry|detailed|vertical|colou?r(?:ed)?|black[ -]and[ -]white"
)
_IMAGE = rf"(?:(?:{_KIND}) )*(?:image|photo|photograph|picture|portrait|snapshot|shot|drawing|illustration)"
_SHOWS = "shows|showing|depicts|features|featuring|captures|portrays|displays|presents|contains|of|is of|with|there is|we see|you can see"
# What models begin with and no caption needs, once or several times over.
LEAD_INS = (
    r"<think>.*?</think>",
    r"(?:sure|certainly|of course)\b[^.:!]{0,60}[.:!]",
    r"here(?: is|'s) [^.:]{0,60}:",
    r"(?:caption|description|answer|output) ?:",
    rf"(?:this|it|there) is (?=(?:an?|the) {_IMAGE}\b)",
    rf"(?:in )?(?:this|the|an?) {_IMAGE}(?:,| (?:{_SHOWS})\b)",
    r"(?:it|this) shows\b",
    r"(?:we|you)(?: can)? see\b",
)
_LEAD_IN = re.compile(rf"^(?:{'|'.join(LEAD_INS)})\s*")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'", "`": "'"})
_MARKUP = re.compile(r"\*\*|__|^[#>*-]+ ", re.MULTILINE)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def clean(raw: str) -> str:
    """A caption out of a model's words: lower case, one line, without lead-ins such as "a photo of", markup, quotes round it or a
    full stop at its end.
    """
    text = unicodedata.normalize("NFC", raw).translate(_QUOTES)
    text = " ".join(_MARKUP.sub("", text).split()).lower()
    before = None
    while text != before:
        before = text
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
            text = text[1:-1].strip()
        text = _LEAD_IN.sub("", text)
    return text.rstrip(" .,;")


def words(text: str | None) -> list[str]:
    """The words of a text, case-folded, in order."""
    return [word.casefold() for word in _WORD.findall(text or "")]


def with_trigger(trigger_words: str, caption: str) -> str:
    """The text of a text file: trigger words as written, a comma, the caption."""
    return ", ".join(part for part in (trigger_words.strip(), caption) if part)


def without_trigger(trigger_words: str, text: str) -> str | None:
    """`with_trigger` backwards; None where the text does not begin with the trigger words, in whatever case."""
    trigger = trigger_words.strip()
    if not re.match(rf"{re.escape(trigger)}(?!\w)" if trigger else "", text, re.IGNORECASE):
        return None
    return text[len(trigger) :].lstrip(" ,")


def lint(text: str, *, trigger_words: str, banned_words: list[str], max_words: int) -> list[str]:
    """What speaks against a text, everything that does; nothing for a good one.

    Args:
        text: of a text file.
        trigger_words: that it has to begin with.
        banned_words: that may not stand behind them, as whole words, in whatever case.
        max_words: behind them, at most.
    """
    caption = without_trigger(trigger_words, text)
    found = [f"trigger words missing: {trigger_words.strip()}"] if caption is None else []
    rest = unicodedata.normalize("NFC", text if caption is None else caption)
    banned = [word for word in banned_words if _holds(rest, word)]
    found += [f"banned words: {', '.join(banned)}"] if banned else []
    count = len(words(rest))
    if not count:
        found.append("empty")
    if count > max_words:
        found.append(f"too long: {count} words, at most {max_words}")
    return found


def _holds(text: str, word: str) -> bool:
    parts = r"\s+".join(map(re.escape, unicodedata.normalize("NFC", word).split()))
    return bool(parts) and re.search(rf"(?<!\w){parts}(?!\w)", text, re.IGNORECASE) is not None
