"""frames.py: frames of the suite as bytes, and what common/ says about them.

Everything that has a name is read out of the sources (frame.def, frame_field.def, role.def, frame.h,
process.h), so that types, fields, flags and permissions are always those of the programs.

    f = Frame("STANZA", kind="MESSAGE", subtype="CHAT", to="romeo@localhost", flags="CONTENT BODY")
    f.bytes()                    # as on the wire
    f.text("payload"), f.numbers # fields: bytes or None; the field `numbers` as a list
"""

import re
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = struct.Struct("=IBBBBIIQQQQQ")
SCALARS = ("flags", "origin", "seq", "handle", "archive_id", "number", "stamp")


def source(name):
    """A file of common/ without its comments."""
    text = (ROOT / "common" / name).read_text()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def enum(text, name, prefix):
    """The names of a C enumeration without explicit values, in their order."""
    body = re.search(r"enum %s\s*\{(.*?)\}" % name, text, re.S).group(1)
    names = re.findall(r"\b%s(\w+)" % prefix, body)
    return {n: i for i, n in enumerate(names) if n != "COUNT"}


HEADER = source("frame.h")
ROLES = ["NONE"] + re.findall(r"^ROLE\((\w+),", source("role.def"), re.M)
ROLE_TEXTS = dict(re.findall(r'^ROLE\((\w+),\s*"([^"]+)"\)', source("role.def"), re.M))
FIELDS = re.findall(r"^FIELD\((\w+),", source("frame_field.def"), re.M)
KINDS = enum(HEADER, "stanza_kind", "STANZA_")
SUBTYPES = enum(HEADER, "stanza_type", "TYPE_")
AUDIENCES = enum(HEADER, "audience", "AUDIENCE_")
FLAGS = {n: 1 << int(bit) for n, bit in re.findall(r"FLAG_(\w+)\s*=\s*1u << (\d+),", HEADER)}
FROM_ENTRY = sum(FLAGS[n] for n in re.findall(
    r"FLAG_(\w+)", re.search(r"FLAG_FROM_ENTRY = ([^,]+),", HEADER).group(1)))
FRAME_MAX = eval(re.search(r"#define FRAME_MAX\s+\((\d+)u << (\d+)\)", HEADER).expand(r"\1 << \2"))


def senders(expression, macros):
    """The roles that a C expression of BY_ macros and ROLE_BIT() stands for."""
    found = set()
    for name, role in re.findall(r"(BY_\w+)|ROLE_BIT\(ROLE_(\w+)\)", expression):
        found |= {role} if role else macros[name]
    return found


def read_frames():
    macros = {}
    for name, expression in re.findall(r"#define (BY_\w+)\s+(.*)", HEADER):
        macros[name] = senders(expression, macros)
    rows = re.findall(r"^FRAME\((\w+), ([^\"]+), \"", source("frame.def"), re.M)
    types = {"NONE": 0, **{name: i + 1 for i, (name, _) in enumerate(rows)}}
    return types, {name: senders(by, macros) for name, by in rows}


TYPES, SENDERS = read_frames()
TYPE_NAMES, KIND_NAMES, SUBTYPE_NAMES, AUDIENCE_NAMES = (
    {number: name for name, number in names.items()} for names in (TYPES, KINDS, SUBTYPES, AUDIENCES))


def flag_bits(names):
    return names if isinstance(names, int) else sum(FLAGS[n] for n in names.split())


def pack_numbers(numbers):
    return struct.pack("=%dQ" % len(numbers), *numbers)


class Frame:
    """One frame. Scalars are attributes; fields are in .fields as bytes, by name."""

    def __init__(self, type, kind="NONE", subtype="NONE", audience="NONE", numbers=None, **values):
        self.type, self.kind, self.subtype, self.audience = type, kind, subtype, audience
        for name in SCALARS:
            setattr(self, name, values.pop(name, 0))
        self.flags = flag_bits(self.flags)
        self.fields = {n: v.encode() if isinstance(v, str) else v for n, v in values.items() if v is not None}
        if numbers is not None:
            self.fields["numbers"] = pack_numbers(numbers)
        assert set(self.fields) <= set(FIELDS), self.fields

    def text(self, name):
        return self.fields.get(name)

    @property
    def numbers(self):
        data = self.fields.get("numbers", b"")
        return list(struct.unpack("=%dQ" % (len(data) // 8), data))

    def receivers(self):
        """The streams that a STANZA for a c2sd names."""
        return [self.handle] if self.handle else self.numbers

    def body(self):
        return b"".join(struct.pack("=I", FIELDS.index(n) << 24 | len(v)) + v for n, v in self.fields.items())

    def head(self, length, **instead):
        """The fixed part; instead: other numbers than the right ones, for lies."""
        value = {"type": TYPES[self.type], "kind": KINDS[self.kind], "subtype": SUBTYPES[self.subtype],
                 "audience": AUDIENCES[self.audience], **{n: getattr(self, n) for n in SCALARS}, **instead}
        return HEAD.pack(length, value["type"], value["kind"], value["subtype"], value["audience"],
                         *(value[n] for n in SCALARS))

    def bytes(self, **instead):
        body = self.body()
        return self.head(HEAD.size + len(body), **instead) + body

    def __repr__(self):
        shown = {n: getattr(self, n) for n in SCALARS if getattr(self, n)}
        return "<%s %s/%s/%s %s %s>" % (self.type, self.kind, self.subtype, self.audience, shown,
                                        {n: v[:80] for n, v in self.fields.items()})


def read_frame(data, at):
    """The whole frame that begins there, and where the next one does; (None, at) when there is none."""
    if len(data) - at < HEAD.size:
        return None, at
    length, kind_of, kind, subtype, audience, *scalars = HEAD.unpack_from(data, at)
    end = at + length
    if len(data) < end:
        return None, at
    frame = Frame(TYPE_NAMES[kind_of], KIND_NAMES[kind], SUBTYPE_NAMES[subtype], AUDIENCE_NAMES[audience],
                  **dict(zip(SCALARS, scalars)))
    at += HEAD.size
    while at < end:
        mark, = struct.unpack_from("=I", data, at)
        size = mark & 0xffffff
        frame.fields[FIELDS[mark >> 24]] = data[at + 4:at + 4 + size]
        at += 4 + size
    return frame, end


# -- what supervisor and children say --------------------------------------------------------------------

PROCESS = enum(re.sub(r"=\s*1", "", source("process.h")), "process_what", "PROCESS_")
PROCESS = {name: number + 1 for name, number in PROCESS.items()}
PROCESS_NAMES = {v: k for k, v in PROCESS.items()}
MESSAGE = struct.Struct("=IIIIIIqQ64s")


def process_message(what, role="NONE", index=0, incarnation=0, name=b""):
    return MESSAGE.pack(PROCESS[what], ROLES.index(role), index, incarnation, 0, 0, 0, 0, name)
