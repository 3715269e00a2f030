# SPDX-License-Identifier: MIT
# Commands for gdb that print the words of tine's objects, of a process or a core file:
#
#     tine-queue EXPRESSION    a tine_queue *: positions, and the word of each cell in use
#     tine-pool EXPRESSION     a tine_pool *, or the address of a ledger: its desks
#     tine-cache EXPRESSION    a tine_cache *: the words of its index
#     tine-lock EXPRESSION     a tine_lock *: the thread that holds it
#
# make install puts it where gdb finds it by itself; elsewhere: source tools/gdb.py. The
# debugging information of libtine has to be there. The memory of a family is in no core
# file that the kernel writes; gcore has it after: set dump-excluded-mappings on.
import gdb

STATES = ["FREE", "FULL", "STRAY", "TAKING", "HELD"]
MOST_CELLS = 64


def typed(name):
    try:
        return gdb.lookup_type(name)
    except gdb.error:
        raise gdb.GdbError("no debugging information of libtine is here")


def plain(value):
    """A number; the words of tine are atomic, and some are in structs."""
    return int(value)


def read(address, name):
    """The object of that type there, read whole."""
    value = gdb.Value(int(address)).cast(typed(name).pointer()).dereference()
    try:
        value.fetch_lazy()
    except gdb.MemoryError:
        raise gdb.GdbError(
            f"nothing is at {int(address):#x}: a core file of the kernel has no memory of a "
            "family; use gcore after: set dump-excluded-mappings on")
    return value


def address_in(expression):
    if not expression.strip():
        raise gdb.GdbError("give the address of an object")
    return int(gdb.parse_and_eval(expression))


def cell_word(word):
    state = STATES[word >> 61] if word >> 61 < len(STATES) else f"state {word >> 61}"
    return state, word >> 40 & (1 << 21) - 1, word & (1 << 40) - 1


def claim(word):
    return f"{word & 0xffff} from {word >> 16}" if word else "none"


class Queue(gdb.Command):
    """Print the words of a queue: tine-queue EXPRESSION"""

    def __init__(self):
        super().__init__("tine-queue", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, expression, _):
        address = address_in(expression)
        queue = read(address, "struct tine_queue")
        if plain(queue["magic"]) | 3 != 0x7573:
            raise gdb.GdbError(f"no queue is at {address:#x}, or it was freed")
        head, tail = plain(queue["head"]), plain(queue["tail"])
        closes = plain(queue["closes"]) & 0xffffffff
        capacity = "unbounded" if plain(queue["grows"]) else plain(queue["capacity"])
        print(f"queue {address:#x}: capacity {capacity}, head {head}, "
              f"tail {tail}, closed {closes} of {plain(queue['producers'])}, "
              f"strays {plain(queue['strays']) & 0xffffffff}")
        self.cells(queue, head, tail)
        self.desks(queue)

    def cells(self, queue, head, tail):
        ring = queue["ring"]
        cells, stride, mask = (plain(ring[name]) for name in ("cells", "stride", "mask"))
        if plain(queue["grows"]):
            front = read(plain(queue["front"]), "struct stretch")
            cells = plain(queue["front"]) + typed("struct stretch").sizeof
            mask, tail = plain(front["mask"]), min(tail, plain(front["end"]))
        for position in range(head, min(tail, head + MOST_CELLS)):
            word = plain(read(cells + (position & mask) * stride, "struct cell")["word"])
            state, length, at = cell_word(word)
            print(f"  position {position}: {state} at {at}, {length} bytes")
        if tail > head + MOST_CELLS:
            print(f"  and {tail - head - MOST_CELLS} more")

    def desks(self, queue):
        group_size = 64
        for index in range(plain(queue["desks"])):
            group = plain(queue["group"][index // group_size])
            if not group:
                continue
            desk = read(group + index % group_size * typed("struct desk").sizeof,
                        "struct desk")
            if plain(desk["member"]):
                print(f"  desk {index}: member {plain(desk['member']):#x}, "
                      f"putting {claim(plain(desk['putting']))}, "
                      f"getting {claim(plain(desk['getting']))}, "
                      f"role {plain(desk['role'])}, leased {plain(desk['leased'])}, "
                      f"acked {plain(desk['acked'])}, ended {plain(desk['ended'])}")


class Pool(gdb.Command):
    """Print the words of a pool's ledger: tine-pool EXPRESSION"""

    def __init__(self):
        super().__init__("tine-pool", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, expression, _):
        address = address_in(expression)
        kind = gdb.parse_and_eval(expression).type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_PTR and str(kind.target().strip_typedefs()) == "struct tine_pool":
            address = plain(read(address, "struct tine_pool")["ledger"])
        ledger = read(address, "struct ledger")
        if plain(ledger["magic"]) != 0x72656764656c6e74:
            raise gdb.GdbError(f"no ledger of a pool is at {address:#x}")
        print(f"ledger {address:#x}: {plain(ledger['workers'])} workers, nursery "
              f"{plain(ledger['nursery'])}, jobs {plain(ledger['jobs'])}, tickets done "
              f"{plain(ledger['finished'])}, turn {plain(ledger['turn'])}")
        first = address + [f.bitpos // 8 for f in typed("struct ledger").fields()
                           if f.name == "desks"][0]
        size = typed("struct pool_desk").sizeof
        for i in range(min(plain(ledger["workers"]), 1024)):
            self.desk(i, read(first + i * size, "struct pool_desk"))

    def desk(self, i, desk):
        at, span, seat = (plain(desk[name]) for name in ("at", "range", "seat"))
        seats = {f.enumval: f.name[5:].lower() for f in typed("enum seat").fields()}
        doing = "idle"
        if plain(desk["ticket"]):
            doing = f"in ticket {plain(desk['ticket'])}"
        elif at & 1:
            doing = f"in job {at >> 32}"
        print(f"  desk {i}: {seats.get(seat, seat)}, process "
              f"{plain(desk['pid'])}, {doing}, done {(at & 0xffffffff) >> 1}, waiting "
              f"[{span & 0xffffffff}, {span >> 32})")


class Cache(gdb.Command):
    """Print the words of a cache's index: tine-cache EXPRESSION"""

    WORDS = ("entries slots free_slot segments free_segments first last tail files doomed "
             "undos commits restarts hits misses evictions max_bytes").split()

    def __init__(self):
        super().__init__("tine-cache", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, expression, _):
        cache = read(address_in(expression), "struct tine_cache")
        header = read(plain(cache["index"]["base"]), "struct index_header")
        magic = plain(header["magic"])
        print(f"index {plain(cache['index']['base']):#x}: "
              f"{'begun' if magic == 0x6e75676562656e74 else 'whole' if magic == 0x6568636163656e74 else hex(magic)}")
        for name in self.WORDS:
            print(f"  {name} {plain(header[name])}")
        for i in range(min(plain(header["undos"]), 160)):
            undo = header["undo"][i]
            print(f"  undo {plain(undo['where']):#x} was {plain(undo['old']):#x}")


class Lock(gdb.Command):
    """Print the thread that holds a lock: tine-lock EXPRESSION"""

    def __init__(self):
        super().__init__("tine-lock", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, expression, _):
        address = address_in(expression)
        word = plain(read(address, "tine_lock")["priv"][0]) & 0xffffffff
        holder = word & 0x3fffffff
        print(f"lock {address:#x}: " + (f"held by thread {holder}" if holder else "free")
              + (", waited for" if word & 0x80000000 else "")
              + (", its holder has died" if word & 0x40000000 else ""))


Queue()
Pool()
Cache()
Lock()
