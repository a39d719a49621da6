"""Writes a tar with all that a layer can hold to standard output."""
import io, struct, sys, tarfile
root = sys.argv[1] == "root"
tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT)

def add(name, kind, mode=0o644, content=b"", mtime="1500000000.123456789", uid=0, gid=0, link="",
        device=(0, 0), xattrs={}):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(content)
    info.uid, info.gid = (uid, gid) if root else (0, 0)
    info.devmajor, info.devminor = device
    info.pax_headers = {"mtime": mtime}
    for key, value in xattrs.items():
        info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
    tar.addfile(info, io.BytesIO(content))

REG, DIR, SYM, LNK, CHR, BLK, FIFO = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE,
    tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
add("./", DIR, 0o751, mtime="1400000000.5", uid=7, gid=8)
add("bin", SYM, 0o777, link="usr/bin", mtime="1000000001.000000001", uid=3, gid=4)
add("usr/", DIR, 0o755, mtime="-86400.25")
add("usr/bin/", DIR, 0o2755, mtime="3")
add("usr/bin/su", REG, 0o4711, b"#!/bin/false\n", uid=1000, gid=5)
add("usr/bin/sudo", LNK, 0o4711, link="usr/bin/su", uid=1000, gid=5)
add("usr/bin/wall", REG, 0o2755, b"w" * 100000, gid=5)
add("usr/bin/empty", REG, 0o000 if root else 0o400)
add("tmp/", DIR, 0o1777)
# GNU tar locks a directory before it sets its attributes, which only root survives.
add("locked/", DIR, 0o555, xattrs={"user.dir": b"d"} if root else {})
add("described/", DIR, 0o755, xattrs={"user.dir": b"d"})
add("locked/inside", REG, 0o400, b"inside", mtime="4102444800.999999999")
add("locked/deeper/", DIR, 0o500)
add("locked/deeper/file", REG, 0o600, b"f")
add("shut/", DIR, 0o755 if not root else 0o000)
add("shut/file", REG, 0o644, b"x")
add("pipe", FIFO, 0o622)
add("attributes", REG, 0o644, b"a", xattrs={"user.empty": b"", "user.one": b"1", "user.two": b"x" * 900})
add("name\nwith\ttricks \\ \u00fc", REG, 0o644, b"n")
add("latin-\udcff", REG, 0o644, b"not UTF-8")
add("dangling", SYM, 0o777, link="/no/such/place")
add("links/", DIR, 0o755)
add("links/a", SYM, 0o777, link="x" * 300)
add("links/b", LNK, 0o777, link="links/a")
add("d" * 200 + "/", DIR, 0o755)
add("d" * 200 + "/" + "e" * 200, REG, 0o644, b"long")
if root:
    add("dev/", DIR, 0o644)
    add("dev/null", CHR, 0o666, device=(1, 3), uid=1, gid=2)
    add("dev/zero", LNK, 0o666, link="dev/null", uid=1, gid=2)
    add("dev/loop", BLK, 0o660, device=(7, 300), gid=6)
    add("ping", REG, 0o755, b"p", uid=12, gid=12,
        xattrs={"security.capability": struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0)})
    add("trusted", SYM, 0o777, link="ping", xattrs={"trusted.note": b"on a link"})
    add("big-owner", REG, 0o644, b"b", uid=4294967294, gid=2097152)
tar.close()
