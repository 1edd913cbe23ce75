"""Stock Protobuf, MessagePack and JSON libraries read the golden vectors as the manifest says."""

import json
import unittest
import zlib

import tickwire_codec as codec

FOLDER = codec.ROOT / "proto/vectors"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


class Vectors(unittest.TestCase):
    def test_messages(self):
        seen = set()
        for vector in MANIFEST["vectors"]:
            if vector["kind"] != "message":
                continue
            expected = [codec.from_json(line) for line in vector["expected"]]
            seen.update(message["type"] for message in expected)
            for encoding in codec.ENCODINGS:
                with self.subTest(vector["name"], encoding=encoding):
                    payload = (FOLDER / vector["files"][encoding]).read_bytes()
                    self.assertEqual(codec.decode(encoding, payload), expected)
        self.assertEqual(len(seen), 17, "kinds of messages")

    def test_concatenation(self):
        messages = [vector for vector in MANIFEST["vectors"] if vector["kind"] == "message"]
        for encoding in codec.ENCODINGS:
            parts = [(FOLDER / vector["files"][encoding]).read_bytes() for vector in messages]
            expected = [codec.from_json(line) for vector in messages for line in vector["expected"]]
            if encoding == "proto":  # the send time is a field of the frame: the last one counts, and it comes last
                sent = [message for message in expected if message["type"] == "sent"]
                expected = [message for message in expected if message["type"] != "sent"] + sent[-1:]
            self.assertEqual(codec.decode(encoding, b"".join(parts)), expected)

    def test_decimals_are_those_of_the_scale(self):
        for vector in MANIFEST["vectors"]:
            for line in vector["expected"]:
                price, size = line.get("bid_price") or line.get("price"), line.get("bid_size") or line.get("size")
                if price is not None:
                    with self.subTest(vector["name"]):
                        self.assertEqual(len(price.partition(".")[2]), vector["scale"]["price_decimals"])
                        self.assertEqual(len(size.partition(".")[2]), vector["scale"]["size_decimals"])

    def test_commands(self):
        seen = set()
        for vector in MANIFEST["vectors"]:
            if vector["kind"] != "command":
                continue
            (expected,) = vector["expected"]
            op = expected.pop("op")
            seen.add(op)
            fields = codec._plain(expected)
            for encoding in ("proto", "msgpack"):
                with self.subTest(vector["name"], encoding=encoding):
                    payload = (FOLDER / vector["files"][encoding]).read_bytes()
                    self.assertEqual(codec.encode_command(encoding, op, fields), payload)
            encoded = json.loads((FOLDER / vector["files"]["json"]).read_text())
            self.assertEqual(encoded, {"op": op, **expected})
        self.assertEqual(len(seen), len(codec.COMMAND.fields))

    def test_checksums(self):
        for example in MANIFEST["checksums"]:
            levels = example["bids"][:10] + example["asks"][:10]
            raw = b"".join(p.to_bytes(8, "little", signed=True) + s.to_bytes(8, "little") for p, s in levels)
            self.assertEqual(raw.hex(), example["bytes"])
            self.assertEqual(zlib.crc32(raw), example["crc32"])


if __name__ == "__main__":
    unittest.main()
