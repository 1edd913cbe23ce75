// The page's Protobuf reader, JSON reader and command writer are tested against the golden vectors of the contract.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { openPage, startFake } from './browser.mjs';

const folder = process.env.TICKWIRE_VECTORS ?? new URL('../../proto/vectors', import.meta.url).pathname;
const { vectors, checksums } = JSON.parse(await readFile(`${folder}/manifest.json`, 'utf8'));
let fake, opened;
before(async () => { fake = await startFake(1); opened = await openPage(fake.url); });
after(async () => { await opened?.close(); fake?.stop(); });

/** Both readers give one form, but for what only one of the encodings says; times are doubles. */
function comparable(frame) {
  const plain = ({ symbol, venue, id, id_text, receive_time, event_time, ...record }) => record;
  return { ...frame, records: frame.records.map(plain) };
}
const run = (name, argument) => opened.page.evaluate(([name, argument]) => {
  const { wire } = window.tickwire, show = (_, value) => (typeof value === 'bigint' ? String(value) : value);
  if (name === 'decodeFrame') return JSON.stringify(wire.decodeFrame(new Uint8Array(argument).buffer), show);
  if (name === 'decodeJson') return JSON.stringify(wire.decodeJson(argument), show);
  if (name === 'encodeCommand') return JSON.stringify([...wire.encodeCommand(argument)]);
  if (name === 'bookChecksum') return JSON.stringify(wire.bookChecksum(...argument));
  return wire.encodeCommandJson(argument);
}, [name, argument]).then((text) => JSON.parse(text));

for (const vector of vectors.filter((one) => one.files.proto)) {
  test(`${vector.kind} ${vector.name}`, async () => {
    const proto = [...await readFile(`${folder}/${vector.files.proto}`)], json = await readFile(`${folder}/${vector.files.json}`, 'utf8');
    if (vector.kind === 'command') {
      const command = JSON.parse(json);
      assert.deepEqual(await run('encodeCommand', command), proto);
      assert.deepEqual(await run('encodeCommandJson', command), command);
    } else if (vector.kind === 'message' || vector.kind === 'websocket_message') {
      const frame = comparable(await run('decodeFrame', proto));
      assert.ok(frame.records.length || frame.sent, 'something was read');
      assert.deepEqual(frame, comparable(await run('decodeJson', json)));
    }
  });
}
for (const { name, bids, asks, crc32 } of checksums) {
  test(`checksum ${name}`, async () => assert.equal(await run('bookChecksum', [bids, asks]), crc32));
}
