"""Names that objects may have and programs stumble over."""

# Every one of them can stand in Swift, and in Amazon's S3 as well; moto cannot hold the line break.
ODD_KEYS = (
    "a b.jpg", " a", "a ", "ü/é.jpg", "e\u0301.jpg", "日本.jpg", "😀.jpg", "#1.jpg", "50%.jpg", "%41.jpg", "{x}.jpg", "a+b.jpg",
    "a&b=c.jpg", "a?b.jpg", "a;b,c:d@e.jpg", "'\".jpg", "<>.jpg", "back\\slash.jpg", "$!()*~^`|[].jpg", "new\nline.jpg", "tab\t.jpg",
    "return\r.jpg", "\x01.jpg", "\u2028.jpg", "\ufffe.jpg", "trail/", "/lead.jpg", "two//slashes.jpg", "a/../b.jpg", "a/./b.jpg", "..",
    "x" * 1024, "ü" * 512,
)  # fmt: skip
