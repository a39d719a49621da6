"""Python's tarfile as the other party: makes archives, and says what is in one.

    make FORMAT FILE    an archive of odd members
    list                the members of the archive on standard input, as JSON lines
"""

import hashlib
import io
import json
import sys
import tarfile

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def make(kind, path):
    with tarfile.open(path, "w", format=FORMATS[kind]) as tar:

        def add(name, content=None, **fields):
            member = tarfile.TarInfo(name)
            member.mtime = 1700000000
            member.size = len(content or b"")
            for key, value in fields.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content or b""))

        add("./", type=tarfile.DIRTYPE, mode=0o755)
        add("dir", type=tarfile.DIRTYPE, mode=0o2755)
        for size in (0, 1, 511, 512, 513, 1023, 1024, 300000):
            add(f"dir/{size}", bytes(i * 7 % 251 for i in range(size)), mode=0o4755)
        add("contiguous", b"in one run", type=tarfile.CONTTYPE)
        add("old", b"type zero", type=tarfile.AREGTYPE)
        add("symlink", type=tarfile.SYMTYPE, linkname="dir/../somewhere", mode=0o777)
        add("hard", type=tarfile.LNKTYPE, linkname="dir/1")
        add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("sda1", type=tarfile.BLKTYPE, devmajor=8, devminor=1048575)
        add("fifo", type=tarfile.FIFOTYPE)
        add("p" * 140 + "/" + "n" * 90, b"prefix")
        if kind == "ustar":
            return
        add("l" * 300, b"long")
        add("d" * 120 + "/", type=tarfile.DIRTYPE)
        add("to-long", type=tarfile.SYMTYPE, linkname="t" * 1000)
        add("hard-long", type=tarfile.LNKTYPE, linkname="l" * 300)
        add("text-\u00e9\u65e5\u672c", b"utf-8")
        add("raw-\udcff\udcfe", b"no utf-8")
        add("a\nb<&>\"\\\u2028", b"escapes")
        add("large-ids", uid=4294967294, gid=2097152)
        add("before-1970", mtime=-86400)
        add("far", mtime=8589934592)
        if kind == "pax":
            add("exact", mtime=1700000000.25, pax_headers={"atime": "12.000000001", "ctime": "-1.5"})
            add("fine", pax_headers={"mtime": "1.1234567899"})
            xattrs = {"SCHILY.xattr.user.b": "x=\n\udc80y", "SCHILY.xattr.user.a": "1"}
            add("attributes", b"!", pax_headers=xattrs)
            add("comment", pax_headers={"comment": "nothing to us", "VENDOR.k": "v"})


def raw(text):
    return text.encode("utf-8", "surrogateescape").hex()


def list_members():
    tar = tarfile.open(fileobj=sys.stdin.buffer, mode="r|")
    for member in tar:
        pax = member.pax_headers
        content = tar.extractfile(member).read() if member.isreg() else b""
        entry = {
            "name": raw(member.name),
            "type": member.type.decode(),
            "link": raw(member.linkname),
            "mode": member.mode & 0o7777,
            "uid": member.uid,
            "gid": member.gid,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "mtime": pax.get("mtime", str(int(member.mtime))),
            "atime": pax.get("atime"),
            "ctime": pax.get("ctime"),
            "device": [member.devmajor, member.devminor],
            "xattrs": sorted(
                [raw(key[len("SCHILY.xattr.") :]), raw(value)]
                for key, value in pax.items()
                if key.startswith("SCHILY.xattr.")
            ),
        }
        print(json.dumps(entry))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3])
    else:
        list_members()
