"""Reads a pickle without running anything: scalars, text, lists, dicts, and a few names that the caller knows.

A pickle is a program for a small stack machine. This machine has the opcodes that plain data needs and no others. A
name (GLOBAL) is looked up in the caller's table and nowhere else, so no module is imported and nothing outside that
table is called.

pickle.Unpickler with a find_class that knows the same table would not be enough. These files name nothing, and the
standard library's Unpickler (CPython 3.11) does not survive them:

    11 bytes     ]  LONG_BINPUT 2**28           the memo is an array: 4 GiB and 14 s, up to 64 GiB for 2**32 - 1
    148 bytes    }  (), 28 times (x, x)  1  s   a key of shared tuples: each level doubles the time of its hash, 3 s
    1 MB         }  ((((...))))  1  s           a key of nested tuples: its hash overflows the C stack, a crash

Here the memo is a dict, and a key that is no scalar and no text is refused before it is hashed.

Reference: the opcodes are described in Python's `pickletools`, which also cuts the stream into them.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

KEYS = (str, int, float, bool, type(None))  # the types of keys in a dict: none that holds others
PUSHED = set(  # opcodes that push their argument as it is
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING SHORT_BINBYTES "
    "BINBYTES BINBYTES8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8".split()
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
LONGEST = 1 << 24  # bytes of a pickle; a tensor takes about 200, its elements are elsewhere


class Name(NamedTuple):
    """Something that a pickle names, such as torch.FloatStorage: as data, only its name."""

    text: str


def unpickle(file: BinaryIO, known: Mapping[str, Callable | None], persistent: Callable[[Any], Any]) -> Any:
    """The next pickled value in `file`, which is left behind its end.

    known: for each name that may occur, "module.attribute", the function to call for it, or None where it is never
        called and stays a Name. Its arguments come from the file, so it has to check them.
    persistent: makes a value of a persistent id, the pickler's way to refer to what is stored elsewhere.

    Raises ValueError for a name that is not known, an opcode that data does not need and a pickle beyond LONGEST bytes,
    IndexError, KeyError or TypeError where the stream is nonsense. Values that share others many times over are cheap
    to hold, but endless to print, hash or compare: messages name types, not values, and whoever compares values has to
    check their types first.
    """
    machine, start = _Machine(known, persistent), file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if opcode.name == "STOP":
            break
        if position - start > LONGEST:
            raise ValueError(f"it holds a pickle of more than {LONGEST} bytes, much more than weights need: refused")
        machine.step(opcode.name, argument)
    if len(machine.stack) != 1 or machine.below:
        raise ValueError(f"a pickle that ends with {len(machine.stack)} values on its stack, wanted 1")
    return machine.stack[0]


class _Machine:
    """The stack; the stacks below it, one for each open mark; and the memo, values that come again."""

    def __init__(self, known, persistent):
        self.known, self.persistent = known, persistent
        self.stack, self.below, self.memo = [], [], {}

    def step(self, opcode: str, argument: Any):
        """Carry out one opcode; `argument` follows it in the stream."""
        push, pop = self.stack.append, self.stack.pop
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case _ if opcode in PUSHED:
                push(argument)
            case _ if opcode in CONSTANTS:
                push(CONSTANTS[opcode])
            case _ if opcode in EMPTY:
                push(EMPTY[opcode]())
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "POP":
                pop()
            case "POP_MARK":
                self.since_mark()
            case _:
                self.combine(opcode, argument)

    def combine(self, opcode: str, argument: Any):
        """Carry out an opcode that makes or fills a container, or one that names or calls something."""
        push, pop = self.stack.append, self.stack.pop
        match opcode:
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(pop() for _ in range(int(opcode[-1])))[::-1])
            case "TUPLE" | "LIST":
                values = self.since_mark()
                self.stack.append(tuple(values) if opcode == "TUPLE" else values)
            case "DICT":
                values = self.since_mark()
                self.stack.append({})
                self.set_items(values)
            case "APPEND":
                value = pop()
                self.top(list).append(value)
            case "APPENDS":
                values = self.since_mark()
                self.top(list).extend(values)
            case "SETITEM":
                value, key = pop(), pop()
                self.set_items([key, value])
            case "SETITEMS":
                self.set_items(self.since_mark())
            case "GLOBAL":
                push(self.name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = pop(), pop()
                push(self.name(module, name))
            case "REDUCE":
                arguments, function = pop(), pop()
                push(self.call(function, arguments))
            case "BUILD":  # attributes: of the known types only OrderedDict has any, PyTorch's versions
                pop()
                self.top(dict)
            case "BINPERSID":
                push(self.persistent(pop()))
            case _:
                what = f"{opcode} {argument}" if isinstance(argument, str) else opcode
                raise ValueError(f"it holds the pickle opcode {what[:100]}, which weights have no need of: refused")

    def since_mark(self) -> list:
        """All values pushed since the last mark, taken off the stack."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def top(self, kind: type) -> Any:
        """The value on top of the stack, which must be of that type."""
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"it fills a {type(self.stack[-1]).__name__} as if it were a {kind.__name__}")
        return self.stack[-1]

    def set_items(self, flat: list):
        """{flat[0]: flat[1], flat[2]: flat[3], ...} into the dict on top of the stack."""
        into = self.top(dict)
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if type(key) not in KEYS:
                raise ValueError(f"it holds a dict with a {type(key).__name__} for a key: refused")
            into[key] = value

    def name(self, module: Any, attribute: Any) -> Name:
        """A name that the caller knows; any other ends the reading here, before anything has been done with it."""
        if type(module) is not str or type(attribute) is not str or f"{module}.{attribute}" not in self.known:
            what = ".".join(part[:100] if type(part) is str else type(part).__name__ for part in (module, attribute))
            raise ValueError(f"it names {what}, which is not known here: refused, and nothing of it was run")
        return Name(f"{module}.{attribute}")

    def call(self, function: Any, arguments: Any) -> Any:
        """The caller's function of that name, called."""
        known = self.known[function.text] if type(function) is Name else None
        if known is None or type(arguments) is not tuple:
            what = function.text if type(function) is Name else f"a {type(function).__name__}"
            raise ValueError(f"it calls {what}, which is not known here: refused, and nothing of it was run")
        return known(*arguments)
