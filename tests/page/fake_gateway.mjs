// A scripted gateway for working on the demo page without the real one: a random market in Protobuf and JSON.
//
//   node fake_gateway.mjs [port] [instruments] [age of events in ms]      then open http://127.0.0.1:<port>/
//   curl -X POST http://127.0.0.1:<port>/demo/freeze            and resume, as in the demo
//   curl -X POST http://127.0.0.1:<port>/fake/<scenario>        see SCENARIOS below
//
// It has no dependencies. It knows nothing of conflation or limits; it exists to show every state that the page has.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { crc32Of, Proto, toJson, toProto } from './fake_wire.mjs';

const PAGE = new URL('../../dashboard/index.html', import.meta.url);
const HEARTBEAT_MS = 1000;
const BOOK_LEVELS = 40;
const [port = 7400, count = 120, age_ms = 0] = process.argv.slice(2).map(Number);

// ---- Market ------------------------------------------------------------------------------------------------------
const nowNs = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
const random = (n) => Math.floor(Math.random() * n);
const NAMES = 'BTC ETH SOL XRP ADA DOGE AVAX DOT LINK MATIC LTC BCH ATOM UNI XLM NEAR APT ARB OP FIL INJ SUI TIA SEI RUNE AAVE MKR SNX CRV LDO'.split(' ');
const QUOTES = ['USDT', 'USD', 'EUR', 'BTC', 'GBP', 'JPY', 'USDC', 'TRY', 'BRL', 'AUD', 'CHF', 'KRW', 'ETH', 'PLN'];
const EPOCH = nowNs();

const instruments = Array.from({ length: count }, (_, i) => {
  const base = NAMES[i % NAMES.length], quote = QUOTES[Math.floor(i / NAMES.length) % QUOTES.length];
  const price_decimals = i % 3 === 0 ? 8 : 2, unit = i % 3 === 0 ? 1_000_000 : 1;   // eight decimals of which two are used
  const mid = Math.floor(10 ** (2 + Math.random() * 4.7)), suffix = i >= NAMES.length * QUOTES.length ? `-${i}` : '';
  return { id: i + 1, symbol: `${base}${quote}${suffix}`, base, quote, price_decimals, size_decimals: 4, unit, mid, open: mid, high: mid, low: mid, volume: 0, trades: 0, activity: 0.05 + Math.random() ** 3,
    sequence: {}, book: { bids: new Map(), asks: new Map() }, state: 'open' };
});
const bestFirst = { bids: (a, b) => b[0] - a[0], asks: (a, b) => a[0] - b[0] };
const levels = (it, side) => [...it.book[side]].sort(bestFirst[side]);

function refill(it) {
  for (const [side, sign] of [['bids', -1], ['asks', 1]]) {
    for (const price of it.book[side].keys()) if (sign * (price / it.unit - it.mid) < 1) it.book[side].delete(price);
    for (let i = 1; i <= BOOK_LEVELS; i++) { const price = (it.mid + sign * i) * it.unit; if (!it.book[side].has(price)) it.book[side].set(price, 200 + random(30_000 + i * 900)); }
    for (const [price] of levels(it, side).slice(BOOK_LEVELS)) it.book[side].delete(price);
  }
}
instruments.forEach(refill);

const record = (it, type, body, channel = type) => {
  const time = nowNs();
  it.sequence[channel] = (it.sequence[channel] ?? 0) + 1;
  return { type, symbol: `sim:${it.symbol}`, scale: it, instrument: it.id, sequence: it.sequence[channel], event_time: time - BigInt(age_ms) * 1_000_000n - 300_000n - BigInt(random(2_000_000)), receive_time: time, ...body };
};
const repeat = (it, type, body) => ({ ...record(it, type, body), sequence: --it.sequence[type] });
const quoteBody = (it) => { const [bid] = levels(it, 'bids'), [ask] = levels(it, 'asks'); return { bid_price: bid[0], bid_size: bid[1], ask_price: ask[0], ask_size: ask[1] }; };
const statBody = (it) => ({ since: EPOCH, open: it.open * it.unit, high: it.high * it.unit, low: it.low * it.unit, last: it.mid * it.unit, volume: it.volume, trades: it.trades });
const checksum = (it) => crc32Of(levels(it, 'bids'), levels(it, 'asks'));

/** Makes one event of one instrument; returns its records. */
function step(it) {
  const out = [], before = { bids: new Map(it.book.bids), asks: new Map(it.book.asks) }, drift = Math.random() < 0.4 ? 0 : random(3) - 1;
  it.mid = Math.max(60, it.mid + drift);
  it.high = Math.max(it.high, it.mid); it.low = Math.min(it.low, it.mid);
  for (const side of ['bids', 'asks']) for (let i = 0; i < 3; i++) { const keys = [...it.book[side].keys()]; it.book[side].set(keys[random(keys.length)], 200 + random(40_000)); }
  refill(it);
  const changed = {};
  for (const side of ['bids', 'asks']) {
    changed[side] = [...it.book[side]].filter(([price, size]) => before[side].get(price) !== size);
    for (const price of before[side].keys()) if (!it.book[side].has(price)) changed[side].push([price, 0]);
    changed[side].sort(bestFirst[side]);
  }
  out.push(record(it, 'book', { snapshot: false, first_sequence: 0, ...changed, checksum: checksum(it) }));
  out.push(record(it, 'quote', quoteBody(it)));
  if (Math.random() < 0.3 && it.state === 'open') {
    const size = 10 + random(20_000), buy = drift > 0 || (drift === 0 && Math.random() < 0.5);
    it.volume += size; it.trades++;
    out.push(record(it, 'trade', { price: (it.mid + (buy ? 1 : -1)) * it.unit, size, aggressor: buy ? 'buy' : 'sell', id: it.trades }));
    out.push(record(it, 'stat', statBody(it)));
  }
  return out;
}

// ---- Sessions ----------------------------------------------------------------------------------------------------
const sessions = new Set();
let frozen = false, mute = false, corrupt = false, delay = 0, feed = { venue: 'sim', state: 'live', since: nowNs(), reason: '', book_proof: 'chain' };

class Session {
  constructor(socket, encoding) { Object.assign(this, { socket, encoding, channels: new Set(), book: null, lastSent: 0 }); }
  /** Sends one WebSocket message. */
  send(records) {
    if (mute || !records.length || this.socket.destroyed) return;
    this.lastSent = Date.now();
    const all = [...records, { type: 'sent', sent_time: nowNs() }];
    if (this.encoding === 'json') this.write(1, Buffer.from(all.map((one) => `${toJson(one)}\n`).join('')));
    else this.write(2, Buffer.concat(all.map(toProto)));
  }
  write(opcode, data) {
    const head = data.length < 126 ? [128 | opcode, data.length] : data.length < 65536 ? [128 | opcode, 126, data.length >> 8, data.length & 255] : [128 | opcode, 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((bits) => (data.length >>> bits) & 255)];
    this.socket.write(Buffer.concat([Buffer.from(head), data]));
  }
  close(code, reason) { this.write(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)])); this.socket.end(); }
  wants(one) {
    if (one.type === 'gap') return one.channel === 'book' ? this.book === one.symbol : this.channels.has(one.channel);
    return one.type === 'book' ? this.book === one.symbol : this.channels.has(one.type);
  }
  command({ op, id, channel, symbols, positions }) {
    if (op === 'ledger') return this.send([{ type: 'ledger', id, entries: [...this.channels].flatMap((name) => instruments.map((it) => { const published = it.sequence[name] ?? 0; return { instrument: it.id, channel: name, symbol: `sim:${it.symbol}`, published, delivered: published, conflated: 0, dropped: 0, filtered: 0 }; })) }]);
    if (op === 'unsubscribe') { this.book = null; return; }
    if (op === 'resume') { this.resumed = positions; return; }
    if (op !== 'subscribe') return;
    const wanted = symbols[0].endsWith(':*') ? instruments : instruments.filter((it) => symbols.includes(`sim:${it.symbol}`));
    if (channel === 'book') [this.book] = symbols; else this.channels.add(channel);
    const granted = wanted.map((it) => this.granted(it, channel));
    const refused = wanted.length ? [] : [{ channel, symbol: symbols[0], code: 'unknown_symbol', message: 'no such instrument', may_retry: false }];
    const missed = (this.resumed ?? []).filter((one) => one.channel === channel).flatMap((one) => this.missed(one));
    this.send([{ type: 'subscribed', id, granted, refused }, ...missed, ...wanted.flatMap((it) => this.snapshot(it, channel)), { type: 'heartbeat', time: nowNs(), feeds: [feed], positions: [] }]);
  }
  granted(it, channel) {
    return { channel, symbol: `sim:${it.symbol}`, instrument: it.id, price_decimals: it.price_decimals, size_decimals: it.size_decimals, max_rate: 0, epoch: EPOCH, sequence: it.sequence[channel] ?? 0, delay_ms: delay };
  }
  /** Keeps nothing to fill from: what was missed is a gap. */
  missed({ channel, symbol, sequence }) {
    const it = instruments.find((one) => `sim:${one.symbol}` === symbol), last = it?.sequence[channel] ?? 0;
    return last > sequence ? [{ ...record(it, 'gap', { channel, cause: 'resume', first_sequence: sequence + 1, last_sequence: last, epoch: 0 }, 'none'), sequence: last }] : [];
  }
  snapshot(it, channel) {
    if (channel === 'quote') return [repeat(it, 'quote', quoteBody(it))];
    if (channel === 'stat') return [repeat(it, 'stat', statBody(it))];
    if (channel === 'status') return [repeat(it, 'status', { state: it.state, reason: '' })];
    if (channel === 'book') return [repeat(it, 'book', { snapshot: true, first_sequence: 0, bids: levels(it, 'bids'), asks: levels(it, 'asks'), checksum: checksum(it) })];
    if (channel === 'instrument') return [repeat(it, 'instrument', { venue: 'sim', name: it.symbol, price_decimals: it.price_decimals, size_decimals: it.size_decimals, tick_size: it.unit, lot_size: 1, base: it.base, quote: it.quote })];
    return [];
  }
}
const broadcast = (records) => { for (const session of sessions) session.send(records.filter((one) => one.type === 'heartbeat' || one.type === 'notice' || session.wants(one))); };
const setFeed = (state, reason, proof = 'chain') => { feed = { venue: 'sim', state, since: nowNs(), reason, book_proof: proof }; broadcast([{ type: 'heartbeat', time: nowNs(), feeds: [feed], positions: [] }]); };

setInterval(() => {
  const t = Date.now();
  if (!frozen) {
    const records = instruments.flatMap((it) => (!it.paused && Math.random() < it.activity * 0.35 ? step(it) : []));
    if (corrupt) for (const one of records) if (one.type === 'book') one.checksum ^= 1;
    broadcast(records);
  }
  for (const session of sessions) if (t - session.lastSent >= HEARTBEAT_MS - 20) session.send([{ type: 'heartbeat', time: nowNs(), feeds: [feed], positions: [] }]);
}, 16);

// ---- Scenarios ---------------------------------------------------------------------------------------------------
const gap = (it, channel, lost) => { const first = (it.sequence[channel] ?? 0) + 1; it.sequence[channel] = first + lost - 1; return { ...record(it, 'gap', { channel, cause: 'upstream', first_sequence: first, last_sequence: first + lost - 1, epoch: 0 }, 'none'), sequence: first + lost - 1 }; };
/** Ends all subscriptions of an instrument, with their account. */
function endOf(it, may_retry) {
  const symbol = `sim:${it.symbol}`;
  for (const session of sessions) {
    const channels = [...session.channels, ...(session.book === symbol ? ['book'] : [])];
    const refused = channels.map((channel) => ({ channel, symbol, code: 'ended', message: 'it expired', may_retry }));
    const entries = channels.map((channel) => { const published = it.sequence[channel] ?? 0; return { instrument: it.id, channel, symbol, published, delivered: published, conflated: 0, dropped: 0, filtered: 0 }; });
    session.send([{ type: 'subscribed', id: 0, granted: [], refused }, { type: 'ledger', id: 0, entries }]);
    if (session.book === symbol) session.book = null;
  }
}
const SCENARIOS = {
  down: () => setFeed('down', 'no heartbeat from the ingester'),
  up: () => setFeed('live', ''),
  unproven: () => setFeed('live', '', 'unverifiable'),
  halt: () => broadcast(instruments.slice(0, 3).map((it) => record(it, 'status', { state: it.state = it.state === 'halted' ? 'open' : 'halted', reason: 'volatility pause' }))),
  gap: () => broadcast(instruments.slice(0, 4).flatMap((it) => [gap(it, 'trade', 1 + random(20)), gap(it, 'book', 3)])),
  bookgap: () => { for (const session of sessions) { const it = instruments.find((one) => `sim:${one.symbol}` === session.book); if (it) session.send([gap(it, 'book', 4)]); } },
  quotegap: () => { for (const it of instruments.slice(0, 3)) it.paused = true; broadcast(instruments.slice(0, 3).map((it) => gap(it, 'quote', 2))); },
  quoteback: () => { for (const it of instruments) it.paused = false; broadcast(instruments.slice(0, 3).map((it) => record(it, 'quote', quoteBody(it)))); },
  // The last instrument ends, and its number passes to another symbol.
  end: () => {
    const it = instruments.pop(), fresh = { ...it, symbol: `FRESH${it.symbol}`, sequence: {}, mid: it.mid * 7, open: it.mid * 7, book: { bids: new Map(), asks: new Map() } };
    endOf(it, false);
    refill(fresh);
    instruments.push(fresh);
    for (const session of sessions) session.send([{ type: 'subscribed', id: 0, granted: [...session.channels].map((channel) => session.granted(fresh, channel)), refused: [] },
      ...[...session.channels].flatMap((channel) => session.snapshot(fresh, channel))]);
  },
  endbook: () => { const [{ book }] = sessions, at = instruments.findIndex((one) => `sim:${one.symbol}` === book); endOf(instruments.splice(at, 1)[0], false); },
  twice: () => { const [one, other] = instruments; for (const session of sessions) session.send([{ type: 'subscribed', id: 0, granted: [{ ...session.granted(other, 'quote'), instrument: one.id }], refused: [] }, record(one, 'quote', quoteBody(one))]); },
  silentloss: () => { for (const it of instruments.slice(0, 2)) it.sequence.trade = (it.sequence.trade ?? 0) + 5; },
  corrupt: () => { corrupt = !corrupt; },
  mute: () => { mute = !mute; },
  conflate: () => broadcast([{ type: 'notice', code: 'conflating', message: '', conflated: 1200, dropped: 0, retry_after_ms: 0 }]),
  drop: () => { for (const session of sessions) session.socket.destroy(); },
  drain: () => { broadcast([{ type: 'notice', code: 'draining', message: 'restart', conflated: 0, dropped: 0, retry_after_ms: 2500 }]); for (const session of sessions) session.close(1001, 'draining: the gateway is going away; reconnect'); for (const it of instruments) it.sequence.trade = (it.sequence.trade ?? 0) + 2; },
  // The next session comes fifteen minutes late, the one after it does not.
  delay: () => { delay = delay ? 0 : 900_000; SCENARIOS.drop(); },
  refuse: () => { for (const session of sessions) session.close(1002, 'protocol: a frame broke the rules of WebSocket; mend the client before it reconnects'); },
};

// ---- HTTP and the WebSocket handshake ----------------------------------------------------------------------------
const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://x'), scenario = SCENARIOS[pathname.replace('/fake/', '')];
  const answer = (status, type = 'text/plain', body = '') => response.writeHead(status, { 'content-type': type }).end(body);
  if (pathname === '/') return answer(200, 'text/html; charset=utf-8', await readFile(PAGE));
  if (pathname === '/demo.json') return answer(200, 'application/json', '{"venues":["sim"],"controls":true,"source":"sim"}');
  if (pathname === '/demo/freeze') { frozen = true; setTimeout(() => setFeed('stale', 'the source is silent'), 500); return answer(204); }
  if (pathname === '/demo/resume') { frozen = false; setFeed('live', ''); return answer(204); }
  if (pathname.startsWith('/fake/') && scenario) { scenario(); return answer(204); }
  return answer(404, 'text/plain', 'not found');
});
server.on('upgrade', (request, socket) => {
  const protocol = request.headers['sec-websocket-protocol'], accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`);
  socket.setNoDelay(true);
  const session = new Session(socket, protocol.split('.').at(-1));
  sessions.add(session);
  let rest = Buffer.alloc(0);
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    for (let frame; (frame = takeFrame(rest)); rest = rest.subarray(frame.used)) {
      if (frame.opcode === 8) socket.end();
      else if (frame.opcode < 3) session.command(session.encoding === 'json' ? JSON.parse(frame.data.toString()) : Proto.command(frame.data));
    }
  });
  socket.on('close', () => sessions.delete(session));
  socket.on('error', () => sessions.delete(session));
  session.send([{ type: 'hello', session: `fake-${createHash('md5').update(accept).digest('hex').slice(0, 8)}`, protocol_version: 1, schema: '00000000', heartbeat_ms: HEARTBEAT_MS,
    limits: { subscriptions: 4096, command_bytes: 4096, commands_per_second: 20, shed_bytes: 1 << 20, close_bytes: 4 << 20 }, server: 'fake gateway' }]);
});
/** Reads a masked client frame shorter than 64 KiB; returns nothing while it is incomplete. */
function takeFrame(bytes) {
  if (bytes.length < 6) return null;
  const short = bytes[1] & 127, head = short < 126 ? 6 : 8, length = short < 126 ? short : bytes.readUInt16BE(2), mask = bytes.subarray(head - 4, head);
  if (bytes.length < head + length) return null;
  return { opcode: bytes[0] & 15, used: head + length, data: Buffer.from(bytes.subarray(head, head + length).map((byte, i) => byte ^ mask[i & 3])) };
}
server.listen(port, '127.0.0.1', () => console.log(`fake gateway: http://127.0.0.1:${server.address().port}/ with ${count} instruments`));
