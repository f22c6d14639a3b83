"""Samples of web dataset shards: webdataset's own reading, odd members, hostile headers, and every kind of damage."""

import io
import random
import tarfile
import tracemalloc

import pytest
import webdataset
from webdataset.tariterators import base_plus_ext

from workflow_scripts.autotag import tar_members
from workflow_scripts.autotag.shards import Sample, samples, split_name
from workflow_scripts.autotag.tar_members import BLOCK
from workflow_scripts.core.images import IMAGE_EXTENSIONS
from workflow_scripts.core.step import StepError

LIMIT = 100_000
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def content(number, size=1300):
    """Bytes that occur in no header, and are not those of another number."""
    return bytes([200 + number % 50, number % 251]) * (size // 2)


def shard(path, keys, extension="jpg", **options):
    """A shard as webdataset writes it, with a JSON beside each image."""
    with webdataset.TarWriter(str(path), mtime=0, encoder=False, **options) as writer:
        for number, key in enumerate(keys):
            writer.write({"__key__": key, extension: content(number), "json": b"{}"})
    return path


def members(path, *entries, kind=tarfile.PAX_FORMAT):
    """A tar of (name or TarInfo, bytes)."""
    with tarfile.open(path, "w", format=kind) as tar:
        for entry, data in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read(path, limit=LIMIT):
    return list(samples(path, limit))


def good(found):
    return {sample.key: sample.data for sample in found if sample.error is None}


def errors(found):
    return {sample.key: sample.error for sample in found if sample.error is not None}


def raw(name, size=0, kind=b"0", content=b"", **extra):
    """A member whose header says what it likes."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for field, value in extra.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % BLOCK)


def written(path, *parts):
    path.write_bytes(b"".join(parts) + bytes(2 * BLOCK))
    return path


# ---- what a shard holds ----


def test_samples_are_those_that_webdataset_reads_in_its_order(tmp_path):
    keys = ["00000", "00001", "deep/er/00002", "dir.v2/写真 no 3", 'it\'s "#5" 100%', "n" * 140]
    path = shard(tmp_path / "00000.tar", keys, "png")
    theirs = [(sample["__key__"], sample["png"]) for sample in webdataset.WebDataset(str(path), shardshuffle=False)]
    found = read(path)
    assert [(sample.key, sample.data) for sample in found] == theirs
    assert [sample.member for sample in found] == [f"{key}.png" for key in keys]
    assert [sample.position for sample in found] == sorted(sample.position for sample in found)
    for sample in found:
        assert path.read_bytes()[sample.offset : sample.offset + sample.size] == sample.data


def test_keys_and_extensions_are_webdatasets():
    names = ["a.jpg", "a.JPG", "x/y.tar.gz", "d.1/a.b.c", "d.1/a", "a", "/a.b", "ü/ö.Ä", " a .b ", "a..b", "a.", "x/../a.b"]
    for name in names:
        key, extension = base_plus_ext(name)
        assert split_name(name) == (None if key is None else (key, extension.lower())), name


@pytest.mark.parametrize(("name", "expected"), [("./a.jpg", ("a", "jpg")), (".//./x/a.jpg", ("x/a", "jpg")), ("x/._a.jpg", None)])
def test_names_that_webdataset_takes_otherwise(name, expected):
    """`tar -c .` puts `./` before every name, which no table does; macOS adds `._` files, for which webdataset makes a sample `x/`."""
    assert split_name(name) == expected


@pytest.mark.parametrize("extension", [*IMAGE_EXTENSIONS, ".JPG", ".Png"])
def test_images_are_told_by_their_extension(tmp_path, extension):
    path = members(tmp_path / "a.tar", (f"k{extension}", b"data"), ("k.txt", b"a"), ("k.cls", b"1"), ("noextension", b"x"))
    assert good(read(path)) == {"k": b"data"}
    assert not errors(read(path))


def test_a_sample_without_an_image_is_an_error_with_what_it_has_instead(tmp_path):
    entries = [("a.json", b"{}"), ("b.jpg", b"b"), ("a.seg.png", b"p"), ("c.txt", b"c"), ("__meta__/x.json", b"m"), ("__info__", b"m")]
    found = read(members(tmp_path / "a.tar", *entries))
    assert good(found) == {"b": b"b"}
    assert errors(found) == {"a": "no image in the sample, only json, seg.png", "c": "no image in the sample, only txt"}
    assert [(sample.key, sample.member, sample.offset, sample.size) for sample in found[1:]] == [
        ("a", "a.json", None, None),
        ("c", "c.txt", None, None),
    ]
    assert found[1].position < found[0].position < found[2].position


def test_an_error_names_a_few_extensions(tmp_path):
    found = read(members(tmp_path / "a.tar", *[(f"a.{number}", b"") for number in range(9)]))
    assert errors(found) == {"a": "no image in the sample, only 0, 1, 2, 3, 4, …"}


def test_an_image_may_come_anywhere_behind_the_other_members_of_its_sample(tmp_path):
    found = read(members(tmp_path / "a.tar", ("a.json", b"{}"), ("b.jpg", b"b"), ("a.jpg", b"a")))
    assert good(found) == {"b": b"b", "a": b"a"}
    assert not errors(found)


def test_the_first_image_of_a_sample_counts_and_every_other_is_an_error_of_its_own(tmp_path):
    found = read(members(tmp_path / "a.tar", ("a.jpg", b"1"), ("a.png", b"2"), ("b.jpg", b"3"), ("a.jpg", b"4"), ("./a.jpg", b"5")))
    assert good(found) == {"a": b"1", "b": b"3"}
    lost = [sample for sample in found if sample.error]
    assert {sample.error for sample in lost} == {"another image of the sample a, which has a.jpg"}
    assert [sample.key for sample in lost] == [f"{sample.member}@{sample.offset}" for sample in lost]
    assert len({sample.key for sample in found}) == 5
    assert [sample.size for sample in lost] == [1, 1, 1]


@pytest.mark.parametrize("kind", FORMATS.values(), ids=FORMATS)
def test_long_and_foreign_names_of_every_format(tmp_path, kind):
    names = ["a" * 90, "dir/" * 20 + "b" * 60] + (["ü" * 120, "x/" * 150 + "写"] if kind != tarfile.USTAR_FORMAT else ["ü"])
    found = read(members(tmp_path / "a.tar", *[(f"{name}.jpg", name.encode()) for name in names], kind=kind))
    assert good(found) == {name: name.encode() for name in names}


def test_a_name_that_is_no_utf8_is_written_so_that_a_table_can_hold_it(tmp_path):
    found = read(members(tmp_path / "a.tar", ("a\udcff.jpg", b"x"), kind=tarfile.GNU_FORMAT))
    assert [(sample.key, sample.member) for sample in found] == [("a\\udcff", "a\\udcff.jpg")]


def test_folders_are_passed_over_and_links_and_special_files_are_errors_where_an_image_is_meant(tmp_path):
    folder, hard, soft, pipe = (tarfile.TarInfo(name) for name in ("x.jpg", "h.jpg", "s.jpg", "p.jpg"))
    folder.type, hard.type, soft.type, pipe.type = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE
    hard.linkname = soft.linkname = "a.jpg"
    note = tarfile.TarInfo("a.json")
    note.type, note.linkname = tarfile.SYMTYPE, "b.json"
    found = read(members(tmp_path / "a.tar", ("a.jpg", b"x"), *[(info, b"") for info in (folder, hard, soft, pipe, note)], ("b.jpg", b"y")))
    assert good(found) == {"a": b"x", "b": b"y"}
    link = "tar: a link, which is not followed"
    assert errors(found) == {"h": link, "s": link, "p": "tar: no plain file"}


def test_sparse_files_are_errors_and_what_follows_is_found(tmp_path):
    old = bytearray(raw("a.jpg", 512, tarfile.GNUTYPE_SPARSE))
    old[482] = 1  # another block of the map follows
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + 8 * 32 + sum(old[156:512]))
    more, last = bytearray(BLOCK), bytes(BLOCK)
    more[504] = 1
    pax = tarfile.TarInfo("GNUSparseFile.0/b.jpg")
    pax.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "b.jpg", "GNU.sparse.realsize": "999"}
    pax.size = 512
    parts = [bytes(old), bytes(more), last, bytes(512), pax.tobuf(tarfile.PAX_FORMAT), bytes(512), raw("c.jpg", 3, content=b"ccc")]
    found = read(written(tmp_path / "a.tar", *parts))
    assert errors(found) == dict.fromkeys("ab", "tar: a sparse file, which is not read")
    assert good(found) == {"c": b"ccc"}


def test_records_for_all_members_and_long_names_of_links_name_no_image(tmp_path):
    everywhere = tarfile.TarInfo.create_pax_global_header({"path": "evil.jpg", "comment": "x"})
    target = b"13 path=evil\n" * 20
    parts = [everywhere, raw("a.jpg", 1, content=b"a"), raw("././@LongLink", len(target), b"K", target), raw("b.jpg", 1, content=b"b")]
    found = read(written(tmp_path / "a.tar", *parts))
    assert good(found) == {"a": b"a", "b": b"b"}
    assert not errors(found)


def test_a_link_has_no_content_whatever_its_header_says(tmp_path):
    found = read(
        written(tmp_path / "a.tar", raw("h.jpg", 700, tarfile.LNKTYPE), raw("d", 700, tarfile.DIRTYPE), raw("b.jpg", 1, content=b"b"))
    )
    assert good(found) == {"b": b"b"}
    assert list(errors(found)) == ["h"]
    assert found[0].size == 0


def test_a_size_that_only_a_record_holds_counts(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"size": "700"}
    found = read(written(tmp_path / "a.tar", info.tobuf(tarfile.PAX_FORMAT), b"x" * 700, bytes(324), raw("b.jpg", 1, content=b"b")))
    assert good(found) == {"a": b"x" * 700, "b": b"b"}


# ---- sizes ----


def test_a_member_that_can_be_no_image_of_the_allowed_size_is_not_read(tmp_path):
    path = members(tmp_path / "a.tar", ("a.jpg", bytes(20_000_000)), ("b.jpg", b"b"))
    tracemalloc.start()
    found = read(path, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert errors(found) == {"a": "decode: too large"}
    assert [sample.size for sample in found] == [20_000_000, 1]
    assert good(found) == {"b": b"b"}
    assert peak < 2_000_000
    assert good(read(members(tmp_path / "b.tar", ("a.jpg", bytes(1000))), 1000)) == {"a": bytes(1000)}


@pytest.mark.parametrize("kind", [b"0", b"7", b"L", b"K", b"x", b"g", b"S", b"Z"])
@pytest.mark.parametrize("size", [10 << 30, 1 << 60])
def test_a_header_that_announces_more_than_there_is_takes_no_memory_and_costs_only_itself(tmp_path, kind, size):
    path = written(tmp_path / "a.tar", raw("a.jpg", 1, content=b"a"), raw("h.jpg", size, kind), raw("b.jpg", 1, content=b"b"))
    tracemalloc.start()
    found = read(path, 1 << 62)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good(found) == {"a": b"a", "b": b"b"}
    assert len(errors(found)) == 1
    assert peak < 3_000_000, "a chunk that is searched, and no more"
    if kind == b"0":
        assert errors(found) == {"h": f"tar: its header announces {size} bytes, {BLOCK + 1024 + 512} are left in the tar"}
        assert found[1].size == BLOCK + 1024 + 512


@pytest.mark.parametrize("kind", [b"0", b"L", b"x"])
def test_a_size_below_nothing_and_a_name_longer_than_can_be_are_damage(tmp_path, kind):
    size = -700 if kind == b"0" else 2 << 20
    parts = [raw("a.jpg", 1, content=b"a"), raw("h.jpg", size, kind, bytes(max(0, size))), raw("b.jpg", 1, content=b"b")]
    found = read(written(tmp_path / "a.tar", *parts))
    assert good(found) == {"a": b"a", "b": b"b"}
    end = 1024 + BLOCK + max(0, size)
    assert list(errors(found)) == [f"a.tar@1024-{end}"]


@pytest.mark.parametrize("size", ["-1", "1e3", "9" * 30, ""])
def test_a_record_with_an_impossible_size_costs_only_itself(tmp_path, size):
    info = tarfile.TarInfo("h.jpg")
    info.pax_headers = {"size": size}
    path = written(tmp_path / "a.tar", raw("a.jpg", 1, content=b"a"), info.tobuf(tarfile.PAX_FORMAT), raw("b.jpg", 1, content=b"b"))
    found = read(path)
    assert set(good(found)) >= {"a", "b"}
    assert any("damaged at bytes 1024 to" in error for error in errors(found).values())


def test_memory_does_not_grow_with_the_shard(tmp_path):
    def peak(count):
        path = shard(tmp_path / f"{count}.tar", [f"{number:08d}" for number in range(count)])
        tracemalloc.start()
        assert sum(len(sample.data) for sample in samples(path, LIMIT)) == 1300 * count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(1500) - peak(100) < 1400 * 700, "keys and names alone, and of each a few hundred bytes"


# ---- damage ----

KEYS = [f"{number:05d}" for number in range(6)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A shard in the oldest format, one header a member, and its bytes."""
    path = shard(tmp_path_factory.mktemp("whole") / "00000.tar", KEYS, format="USTAR_FORMAT")
    return read(path), path.read_bytes()


def after(tmp_path, data):
    path = tmp_path / "00000.tar"
    path.write_bytes(data)
    return read(path)


def test_the_shard_of_these_tests_is_read_without_an_error(whole):
    found, data = whole
    assert list(good(found)) == KEYS
    assert not errors(found)
    assert found[1].position - found[0].position == BLOCK + 1536 + BLOCK + 512
    assert len(data) == 10240 * 2 or len(data) % 10240 == 0


@pytest.mark.parametrize("number", range(6))
def test_a_broken_header_costs_its_member_alone_and_is_named_by_its_bytes(tmp_path, whole, number):
    found, data = whole
    start = found[number].position
    broken = bytearray(data)
    broken[start + 100] ^= 1  # in the mode: the checksum does not hold
    again = after(tmp_path, bytes(broken))
    assert good(again) == {key: value for key, value in good(found).items() if key != KEYS[number]}
    assert errors(again) == {
        f"00000.tar@{start}-{start + 2048}": f"tar: damaged at bytes {start} to {start + 2048}: "
        "no header where one should be (bad checksum)",
        KEYS[number]: "no image in the sample, only json",
    }
    damage = next(sample for sample in again if sample.member is None)
    assert (damage.position, damage.offset, damage.size) == (start, start, 2048)


def test_python_alone_ends_there_without_a_word(tmp_path, whole):
    """Why this reader exists."""
    found, data = whole
    broken = bytearray(data)
    broken[found[2].position + 100] ^= 1
    with tarfile.open(fileobj=io.BytesIO(bytes(broken)), mode="r|") as tar:
        assert [info.name for info in tar] == ["00000.jpg", "00000.json", "00001.jpg", "00001.json"]


@pytest.mark.parametrize("chunk", [1, 100, 257, 511, 512, 513, 2048, 2049, 5000])
def test_a_header_is_found_wherever_the_search_pauses(tmp_path, whole, chunk, monkeypatch):
    found, data = whole
    broken = bytearray(data)
    for number in (0, 2, 3):
        broken[found[number].position] ^= 1
    expected = after(tmp_path, bytes(broken))
    monkeypatch.setattr(tar_members, "_CHUNK", chunk)
    assert after(tmp_path, bytes(broken)) == expected
    assert list(good(expected)) == ["00001", "00004", "00005"]


def test_a_broken_header_at_the_end_leaves_what_was_before(tmp_path, whole):
    found, data = whole
    start = found[5].position + 2048  # of the last JSON
    broken = bytearray(data)
    broken[start] ^= 1
    again = after(tmp_path, bytes(broken))
    assert good(again) == good(found)
    assert list(errors(again)) == [f"00000.tar@{start}-{len(data)}"]


@pytest.mark.parametrize("lost", [1, 300, 512, 900, 1800])
def test_missing_bytes_cost_the_members_they_were_in(tmp_path, whole, lost):
    found, data = whole
    cut = found[2].offset + 700
    again = after(tmp_path, data[:cut] + data[cut + lost :])
    assert {"00000", "00001", "00003", "00004", "00005"} == set(good(again)) - {"00002"}
    assert all(good(again)[key] == good(found)[key] for key in set(good(again)) - {"00002"})
    assert any("damaged at bytes" in error for error in errors(again).values())


def test_a_member_between_missing_bytes_and_the_next_header_is_found(tmp_path, whole):
    """The header of the third image still announces all its bytes, which now reach over the one behind it."""
    found, data = whole
    cut = found[2].offset + 100
    again = after(tmp_path, data[:cut] + data[cut + 600 : found[2].position + 2048] + data[found[3].position :])
    assert good(again)["00003"] == good(found)["00003"]
    begin = found[2].offset
    assert errors(again) == {
        f"00000.tar@{begin}-{begin + 936}": f"tar: damaged at bytes {begin} to {begin + 936}: bytes are missing before the next header"
    }


def test_inserted_bytes_cost_nothing_but_themselves(tmp_path, whole):
    found, data = whole
    place = found[2].position
    again = after(tmp_path, data[:place] + b"rubbish" * 99 + data[place:])
    assert good(again) == good(found)
    assert list(errors(again)) == [f"00000.tar@{place}-{place + 693}"]


def test_a_hole_of_zeros_is_damage_and_not_the_end(tmp_path, whole):
    found, data = whole
    start, end = found[1].position, found[3].position + 700
    again = after(tmp_path, data[:start] + bytes(end - start) + data[end:])
    following = found[3].position + 2048
    assert good(again) == {key: value for key, value in good(found).items() if key in ("00000", "00004", "00005")}
    assert errors(again) == {
        f"00000.tar@{start}-{following}": f"tar: damaged at bytes {start} to {following}: "
        "zeros where a header should be: a hole, or an end with more behind it",
        "00003": "no image in the sample, only json",
    }


def test_a_hole_up_to_the_end_is_damage_where_anything_follows(tmp_path, whole):
    _, data = whole
    found = after(tmp_path, data + b"rubbish")
    assert good(found) == good(whole[0])
    assert [error.split(": ")[2] for error in errors(found).values()] == ["zeros where a header should be"]


def test_tars_written_one_behind_the_other_are_read_both(tmp_path, whole):
    _, data = whole
    other = shard(tmp_path / "other.tar", ["x", "00001"]).read_bytes()
    found = after(tmp_path, data + other)
    assert set(good(found)) == {*KEYS, "x"}
    assert sorted(error.split(":")[0] for error in errors(found).values()) == [
        "another image of the sample 00001, which has 00001.jpg",
        "tar",
    ]


def test_a_tar_cut_off_anywhere_gives_what_came_before_and_says_that_it_is_cut_off(tmp_path, whole):
    found, data = whole
    for length in [*range(1, 6000, 97), *range(0, found[-1].offset + 2100, BLOCK), found[-1].offset + 1299]:
        again = after(tmp_path, data[:length])
        expected = {sample.key: sample.data for sample in found if sample.offset + sample.size <= length}
        assert good(again) == expected, length
        assert errors(again), length
        assert all(sample.position + (sample.size or 0) <= length for sample in again), length
        begun = [sample.key for sample in found if sample.offset <= length < sample.offset + sample.size]
        if begun:
            left = length - found[len(expected)].offset
            assert errors(again) == {begun[0]: f"tar: its header announces 1300 bytes, {left} are left in the tar"}


def test_a_tar_without_its_end_mark_may_have_been_cut_off(tmp_path, whole):
    found, data = whole
    end = found[-1].position + 3072
    again = after(tmp_path, data[:end])
    assert good(again) == good(found)
    text = "the mark at the end is missing: the tar may have been cut short"
    assert errors(again) == {f"00000.tar@{end}-{end}": f"tar: damaged at bytes {end} to {end}: {text}"}
    assert not errors(after(tmp_path, data[: end + BLOCK])), "one block of zeros is an end, as Python has it"


@pytest.mark.parametrize(
    ("data", "key", "error"),
    [
        (b"", "00000.tar@0-0", "tar: damaged at bytes 0 to 0: an empty file"),
        (bytes(10240), "00000.tar@0", "no sample in the tar"),
        (b"<html>404</html>", "00000.tar@0-16", "tar: damaged at bytes 0 to 16: no header where one should be (the tar is cut off)"),
        (b"<html>" * 200, "00000.tar@0-1200", "tar: damaged at bytes 0 to 1200: no header where one should be (invalid header)"),
    ],
)
def test_files_without_a_sample_are_one_error(tmp_path, data, key, error):
    assert after(tmp_path, data) == [Sample(key, 0, None, *((0, len(data)) if "-" in key else ()), error=error)]


def test_a_tar_of_folders_alone_has_no_sample(tmp_path):
    folder = tarfile.TarInfo("x")
    folder.type = tarfile.DIRTYPE
    assert errors(read(members(tmp_path / "a.tar", (folder, b"")))) == {"a.tar@0": "no sample in the tar"}


def test_a_long_name_before_damage_does_not_name_another_member(tmp_path):
    long = "n" * 150 + ".jpg"
    data = members(tmp_path / "a.tar", (long, b"1"), ("b.jpg", b"2"), kind=tarfile.GNU_FORMAT).read_bytes()
    header = data.index(b"ustar", 1100) - 257  # of the member itself, behind the name
    found = after(tmp_path, data[:header] + bytes(BLOCK) + data[header + BLOCK :])
    assert good(found) == {"b": b"2"}
    assert errors(found) == {
        "00000.tar@0-2048": "tar: damaged at bytes 0 to 2048: no header where one should be (a name or record, then zeros)"
    }


def test_a_chain_of_names_that_leads_nowhere_ends(tmp_path):
    parts = [raw("x", 4, b"L", b"name") for _ in range(50)]
    found = read(written(tmp_path / "a.tar", *parts))
    assert not good(found)
    assert errors(found)


def test_random_damage_never_stops_the_reader_and_never_changes_what_it_did_not_touch(tmp_path, whole):
    found, data = whole
    chance = random.Random(1)
    for _ in range(400):
        broken = bytearray(data)
        touched = sorted(chance.randrange(len(broken)) for _ in range(chance.randint(1, 12)))
        for place in touched:
            broken[place] = chance.randrange(256)
        again = after(tmp_path, bytes(broken))
        assert len({sample.key for sample in again}) == len(again)
        for sample in found:
            span = range(sample.position, sample.position + BLOCK + 1536)
            if not any(place in span for place in touched):
                assert good(again).get(sample.key) == sample.data, touched


def test_a_file_that_cannot_be_read_at_all_ends_the_step(tmp_path):
    with pytest.raises(StepError, match=r"00000\.tar: cannot be read: No such file"):
        read(tmp_path / "00000.tar")
