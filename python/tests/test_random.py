# SPDX-License-Identifier: MIT
"""Random streams: the numbers of C, in any mixture of calls."""
import pickle
import random
import unittest
from importlib.util import find_spec

if not find_spec("numpy"):
    raise unittest.SkipTest("python3-numpy is missing")
import numpy

from tine.random import BitGenerator, Stream

MASK = 0xFFFFFFFF


def philox(seed, stream, block):
    """Four words of Philox4x32-10, as its authors define it; C's order of the counter."""
    key = [seed & MASK, seed >> 32]
    words = [block & MASK, block >> 32, stream & MASK, stream >> 32]
    for _ in range(10):
        high = [0xD2511F53 * words[0], 0xCD9E8D57 * words[2]]
        words = [high[1] >> 32 ^ words[1] ^ key[0], high[1] & MASK,
                 high[0] >> 32 ^ words[3] ^ key[1], high[0] & MASK]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return words


def words_of(seed, stream, count):
    return [word for block in range(count // 4 + 1)
            for word in philox(seed, stream, block)][:count]


class Numbers(unittest.TestCase):
    def test_mixed_calls_are_the_stream(self) -> None:
        chance = random.Random(3)
        seed, stream = 1 << 63 | 42, 7 << 40 | 5
        words = words_of(seed, stream, 20000)
        generator = Stream(seed, stream)
        at = 0

        def pairs(n):
            nonlocal at
            taken, at = words[at:at + 2 * n], at + 2 * n
            return [low | high << 32 for low, high in zip(taken[::2], taken[1::2])]
        for _ in range(800):
            kind = chance.randrange(4)
            n = chance.choice((1, 2, 5, 30))
            if kind == 0:
                got = generator.integers(0, 1 << 32, n, numpy.uint32).tolist()
                self.assertEqual(got, words[at:at + n])
                at += n
            elif kind == 1:
                self.assertEqual(generator.random(), (pairs(1)[0] >> 11) * 2.0 ** -53)
            elif kind == 2:
                self.assertEqual(generator.random(n).tolist(),
                                 [(pair >> 11) * 2.0 ** -53 for pair in pairs(n)])
            elif at < 18000:
                self.assertEqual(generator.bit_generator.random_raw(n).tolist(), pairs(n))
            if at > 18000:
                break

    def test_pickles_where_it_is(self) -> None:
        stream = Stream(42, 7)
        stream.random(11)
        stream.integers(0, 5, 3, numpy.uint32)
        copy = pickle.loads(pickle.dumps(stream))
        self.assertEqual(stream.normal(size=50).tolist(), copy.normal(size=50).tolist())
        state = stream.bit_generator.state
        want = stream.random(5).tolist()
        stream.bit_generator.state = state
        self.assertEqual(stream.random(5).tolist(), want)

    def test_spawn_and_jump(self) -> None:
        children = [child.random() for child in Stream(1).spawn(3) + Stream(2).spawn(3)]
        self.assertEqual(len(set(children)), 6)
        parent = Stream(1)
        self.assertNotEqual(parent.spawn(1)[0].random(), parent.spawn(1)[0].random())
        self.assertEqual(Stream(1).spawn(1)[0].random(), children[0])
        jumped = Stream(5).jumped(2)
        self.assertEqual(jumped.bit_generator.state["position"], 2 << 48)
        low, high, _, _ = philox(5, 0, 1 << 47)
        self.assertEqual(jumped.random(), ((low | high << 32) >> 11) * 2.0 ** -53)

    def test_refusals(self) -> None:
        self.assertRaises(ValueError, BitGenerator, -1)
        self.assertRaises(ValueError, BitGenerator, 1 << 64)
        self.assertRaises(ValueError, Stream(1).jumped, 1 << 20)
        with self.assertRaises(ValueError):
            Stream(1).bit_generator.state = {}


if __name__ == "__main__":
    unittest.main()
