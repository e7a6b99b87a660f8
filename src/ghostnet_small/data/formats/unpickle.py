"""A reader of pickled arrays that knows only data and can run no code."""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Callable
from typing import Any

from ghostnet_small.data.formats.pickled import NAMES, Array, Kind, Known, Refused, as_text, view
from ghostnet_small.errors import InputError

# CIFAR-100's training file takes about 200,000. Each makes one small object at the most, so that
# the limit bounds memory as well as time.
MOST_OPERATIONS = 2_000_000


def unpickle(content: bytes | bytearray, name: str) -> dict[str, Any]:
    """The dictionary that is pickled in ``content``, protocol 0 to 5, of Python 2 or 3.

    Keys come as text. Values are arrays of integers, lists, tuples, dictionaries, text, bytes,
    integers and None; what Python 2 calls a string comes as bytes. Python's own unpickler is not
    used: the operations are carried out here, the few names of functions that numpy writes are
    replaced by the code in ``pickled``, and any other name is refused. Memory is bounded by a small
    multiple of ``content``. ``name`` stands in messages.

    Raises ``InputError`` for anything else and for damaged content.
    """
    try:
        found = _Machine(content).run()
        if not isinstance(found, dict):
            raise Refused(f"it holds a {type(found).__name__} and not a dictionary")
        return {
            as_text(key): value.get() if isinstance(value, Array) else value
            for key, value in found.items()
        }
    # What a wrong operand raises in the machine; nothing else is called.
    except (Refused, ArithmeticError, LookupError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, Refused) else "it is damaged"
        raise InputError(
            f"{name} is not a pickle of arrays, lists, strings and integers ({reason}); download "
            "it again"
        ) from None


class _Machine:
    """A pickle's stack and memo, and its operations."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.content = content
        self.view = memoryview(content)
        self.at = 0
        self.encoded = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MOST_OPERATIONS):
            if self.at == len(self.content):
                raise Refused("it ends too early")
            code = self.content[self.at]
            self.at += 1
            if code == ord("."):
                return self.stack.pop()
            if code not in _OPERATIONS:
                raise Refused(f"operation {code:#04x} at byte {self.at - 1} is not allowed")
            _OPERATIONS[code](self)
        raise Refused(f"it has more than {MOST_OPERATIONS} operations")

    def skip(self, size: int) -> None:
        if size > len(self.content) - self.at:
            raise Refused("it ends too early")
        self.at += size

    def part(self, size: int) -> memoryview:
        self.skip(size)
        return self.view[self.at - size : self.at]

    def number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.part(size), "little", signed=signed)

    def line(self, most: int | None = None) -> bytes:
        """Up to the line's end; ``most`` bytes where given, for digits."""
        end = self.content.find(b"\n", self.at)
        if end < 0 or (most is not None and end - self.at > most):
            raise Refused("a line does not end")
        return bytes(self.part(end + 1 - self.at)[:-1])

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        found = self.stack[mark:]
        del self.stack[mark:]
        return found

    def extend(self, values: list[Any]) -> None:
        found = self.stack[-1]
        if not isinstance(found, list):
            raise Refused("it is damaged")
        found += values

    def fill(self, values: list[Any]) -> None:
        found = self.stack[-1]
        keys = values[::2]
        # Keys are text: of the others, tuples can be nested without end, and integers chosen so
        # that all fall on one place of the table.
        if not isinstance(found, dict) or not all(isinstance(key, str | bytes) for key in keys):
            raise Refused("a dictionary has keys other than text")
        found.update(zip(keys, values[1::2], strict=True))

    def dictionary(self, values: list[Any]) -> None:
        self.push({})
        self.fill(values)

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def last(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def integer(self) -> None:
        digits = self.line(most=21)
        self.push(digits == b"01" if digits in (b"00", b"01") else int(digits.rstrip(b"L")))

    def long(self) -> None:
        size = self.number(1)
        if size > 16:
            raise Refused("an integer is too large")
        self.push(self.number(size, signed=True))

    def escaped(self) -> None:
        """Python 2's string in quotes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # for unknown escapes
            self.push(codecs.escape_decode(self.line()[1:-1])[0])

    def name(self, module: str, name: str) -> None:
        if (module, name) not in NAMES:
            raise Refused(f"it asks for {f'{module}.{name}'[:60]!r}, which is not allowed")
        self.push(NAMES[module, name])

    def line_name(self) -> None:
        self.name(str(self.line(), "utf-8"), str(self.line(), "utf-8"))

    def stack_name(self) -> None:
        module, name = self.last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("it is damaged")
        self.name(module, name)

    def reduce(self) -> None:
        known, arguments = self.last(2)
        if not isinstance(known, Known) or not isinstance(arguments, tuple):
            raise Refused("it calls what is not allowed")
        made = known.make(arguments)
        if isinstance(made, bytes):
            # A text may be named many times but is encoded once, so that copies cannot pile up.
            self.encoded += len(made)
            if self.encoded > len(self.content):
                raise Refused("it holds one text many times")
        self.push(made)

    def build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if not isinstance(state, tuple):
            raise Refused("it is damaged")
        if isinstance(made, Kind):
            if state[1] not in ("<", ">", "|", "=", b"<", b">", b"|", b"="):
                raise Refused("an array's order of bytes is unknown")
            made.order = as_text(state[1])
        elif isinstance(made, Array):
            _, shape, kind, columns_first, content = state
            made.values = view(content, kind, shape, "F" if columns_first is True else "C")
        else:
            raise Refused("it gives a state to what has none")


def _text_of(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(str(machine.part(machine.number(size)), "utf-8"))


def _bytes_of(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(bytes(machine.part(machine.number(size))))


# By the names that Python's pickletools gives them.
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda machine: machine.skip(1),  # PROTO
    0x95: lambda machine: machine.skip(8),  # FRAME
    ord("N"): lambda machine: machine.push(None),  # NONE
    0x88: lambda machine: machine.push(True),  # NEWTRUE
    0x89: lambda machine: machine.push(False),  # NEWFALSE
    ord("I"): _Machine.integer,  # INT
    ord("L"): _Machine.integer,  # LONG
    ord("J"): lambda machine: machine.push(machine.number(4, signed=True)),  # BININT
    ord("K"): lambda machine: machine.push(machine.number(1)),  # BININT1
    ord("M"): lambda machine: machine.push(machine.number(2)),  # BININT2
    0x8A: _Machine.long,  # LONG1
    ord("S"): _Machine.escaped,  # STRING
    ord("T"): _bytes_of(4),  # BINSTRING
    ord("U"): _bytes_of(1),  # SHORT_BINSTRING
    ord("B"): _bytes_of(4),  # BINBYTES
    ord("C"): _bytes_of(1),  # SHORT_BINBYTES
    0x8E: _bytes_of(8),  # BINBYTES8
    0x96: _bytes_of(8),  # BYTEARRAY8
    ord("V"): lambda machine: machine.push(str(machine.line(), "raw-unicode-escape")),  # UNICODE
    ord("X"): _text_of(4),  # BINUNICODE
    0x8C: _text_of(1),  # SHORT_BINUNICODE
    0x8D: _text_of(8),  # BINUNICODE8
    ord("("): lambda machine: machine.marks.append(len(machine.stack)),  # MARK
    ord("]"): lambda machine: machine.push([]),  # EMPTY_LIST
    ord("}"): lambda machine: machine.push({}),  # EMPTY_DICT
    ord(")"): lambda machine: machine.push(()),  # EMPTY_TUPLE
    ord("t"): lambda machine: machine.push(tuple(machine.since_mark())),  # TUPLE
    0x85: lambda machine: machine.push(tuple(machine.last(1))),  # TUPLE1
    0x86: lambda machine: machine.push(tuple(machine.last(2))),  # TUPLE2
    0x87: lambda machine: machine.push(tuple(machine.last(3))),  # TUPLE3
    ord("l"): lambda machine: machine.push(machine.since_mark()),  # LIST
    ord("d"): lambda machine: machine.dictionary(machine.since_mark()),  # DICT
    ord("a"): lambda machine: machine.extend(machine.last(1)),  # APPEND
    ord("e"): lambda machine: machine.extend(machine.since_mark()),  # APPENDS
    ord("s"): lambda machine: machine.fill(machine.last(2)),  # SETITEM
    ord("u"): lambda machine: machine.fill(machine.since_mark()),  # SETITEMS
    ord("p"): lambda machine: machine.put(int(machine.line(most=10))),  # PUT
    ord("q"): lambda machine: machine.put(machine.number(1)),  # BINPUT
    ord("r"): lambda machine: machine.put(machine.number(4)),  # LONG_BINPUT
    0x94: lambda machine: machine.put(len(machine.memo)),  # MEMOIZE
    ord("g"): lambda machine: machine.push(machine.memo[int(machine.line(most=10))]),  # GET
    ord("h"): lambda machine: machine.push(machine.memo[machine.number(1)]),  # BINGET
    ord("j"): lambda machine: machine.push(machine.memo[machine.number(4)]),  # LONG_BINGET
    ord("c"): _Machine.line_name,  # GLOBAL
    0x93: _Machine.stack_name,  # STACK_GLOBAL
    ord("R"): _Machine.reduce,  # REDUCE
    ord("b"): _Machine.build,  # BUILD
}
