// Writes records as the fake gateway's sessions get them: Protobuf and the JSON encoding. Reads commands.
import { crc32 } from './crc32.mjs';

const enumOf = (names) => (name) => names.indexOf(name);
const channel = enumOf(['unknown', 'quote', 'trade', 'book', 'bar', 'stat', 'status', 'instrument', 'derivative']);
const cause = enumOf(['unknown', 'upstream', 'ingest', 'bus', 'shed', 'resume']);
const feedState = enumOf(['unknown', 'live', 'stale', 'down']);
const bookProof = enumOf(['unknown', 'unverifiable', 'symbol_sequence', 'connection_sequence', 'chain', 'checksum']);
const side = enumOf(['unknown', 'buy', 'sell']);
const tradingState = enumOf(['unknown', 'pre_open', 'open', 'auction', 'halted', 'closed']);

// ---- Protobuf ----------------------------------------------------------------------------------------------------
function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}
const zigzag = (value) => { const big = BigInt(value); return big < 0n ? -2n * big - 1n : 2n * big; };
const always = (number, value) => Buffer.concat([varint(number * 8), varint(value)]);
const uint = (number, value) => (BigInt(value) ? always(number, value) : Buffer.alloc(0));
const sint = (number, value) => (value === null ? Buffer.alloc(0) : always(number, zigzag(value)));
const data = (number, bytes) => Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
const text = (number, value) => (value ? data(number, Buffer.from(value)) : Buffer.alloc(0));
const fixed64 = (number, value) => { const bytes = Buffer.alloc(8); bytes.writeBigUInt64LE(value); return Buffer.concat([varint(number * 8 + 1), bytes]); };
const fixed32 = (number, value) => { const bytes = Buffer.alloc(4); bytes.writeUInt32LE(value >>> 0); return Buffer.concat([varint(number * 8 + 5), bytes]); };
const packed = (number, values) => (values.length ? data(number, Buffer.concat(values.map(varint))) : Buffer.alloc(0));
const steps = (levels) => levels.map(([price], i) => zigzag(price - (i ? levels[i - 1][0] : 0)));
const all = (...parts) => Buffer.concat(parts);

const position = (p) => all(uint(1, p.instrument), uint(2, channel(p.channel)), uint(3, p.epoch), uint(4, p.sequence));
const BODIES = {
  quote: (m) => all(sint(5, m.bid_price), uint(6, m.bid_size), sint(7, m.ask_price - m.bid_price), always(8, m.ask_size)),
  trade: (m) => data(9, all(always(1, zigzag(m.price)), uint(2, m.size), uint(3, side(m.aggressor)), uint(4, m.id))),
  book: (m) => data(10, all(uint(1, Number(m.snapshot)), uint(2, m.first_sequence), packed(3, steps(m.bids)), packed(4, m.bids.map(([, size]) => size)),
    packed(5, steps(m.asks)), packed(6, m.asks.map(([, size]) => size)), fixed32(7, m.checksum))),
  stat: (m) => data(12, all(fixed64(1, m.since), sint(2, m.open), sint(3, m.high), sint(4, m.low), sint(5, m.last), uint(6, m.volume), uint(7, m.trades))),
  status: (m) => data(13, all(uint(1, tradingState(m.state)), text(2, m.reason))),
  instrument: (m) => data(14, all(text(1, m.venue), text(2, m.name), uint(3, m.price_decimals), uint(4, m.size_decimals), uint(5, m.tick_size), uint(6, m.lot_size), text(7, m.base), text(8, m.quote))),
  gap: (m) => data(15, all(uint(1, channel(m.channel)), uint(2, cause(m.cause)), uint(3, m.first_sequence), uint(4, m.last_sequence), uint(5, m.epoch))),
  hello: (m) => data(16, all(text(1, m.session), uint(2, m.protocol_version), text(3, m.schema), uint(4, m.heartbeat_ms),
    data(5, all(...Object.values(m.limits).map((value, i) => uint(i + 1, value)))), text(6, m.server))),
  subscribed: (m) => data(17, all(uint(1, m.id),
    ...m.granted.map((g) => data(2, all(uint(1, channel(g.channel)), text(2, g.symbol), uint(3, g.instrument), uint(4, g.price_decimals), uint(5, g.size_decimals), uint(7, g.epoch), uint(8, g.sequence), uint(9, g.delay_ms)))),
    ...m.refused.map((r) => data(3, all(uint(1, channel(r.channel)), text(2, r.symbol), text(3, r.code), text(4, r.message), uint(5, Number(r.may_retry))))))),
  notice: (m) => data(18, all(text(1, m.code), text(2, m.message), uint(3, m.conflated), uint(4, m.dropped), uint(5, m.retry_after_ms))),
  heartbeat: (m) => data(19, all(fixed64(1, m.time), ...m.feeds.map((f) => data(2, all(text(1, f.venue), uint(2, feedState(f.state)), fixed64(3, f.since), text(4, f.reason), uint(5, bookProof(f.book_proof))))), ...m.positions.map((p) => data(3, position(p))))),
  ledger: (m) => data(20, all(uint(1, m.id), ...m.entries.map((e) => data(2, all(uint(1, e.instrument), uint(2, channel(e.channel)), text(3, e.symbol), uint(4, e.published), uint(5, e.delivered), uint(6, e.conflated), uint(7, e.dropped), uint(8, e.filtered)))))),
};
export function toProto(m) {
  if (m.type === 'sent') return fixed64(2, m.sent_time);
  const header = m.event_time ? [uint(1, m.instrument), uint(2, m.sequence), fixed64(3, m.event_time), sint(4, m.receive_time - m.event_time)] : [];
  return data(1, all(...header, BODIES[m.type](m)));
}

const COMMANDS = [, 'subscribe', 'unsubscribe', 'set_rate', 'resume', 'receipt', 'ledger'];
export const Proto = {
  /** Reads what the scenarios need of a command: op, id, channel, symbols, positions. */
  command(bytes) {
    const [{ number, value }] = fields(bytes), command = { op: COMMANDS[number], symbols: [], positions: [] };
    for (const field of fields(value)) {
      if (field.number === 1 && typeof field.value === 'number') command.id = field.value;
      if (command.op === 'resume' && field.number === 2) {
        const [channel, symbol, epoch, sequence] = fields(field.value).map((one) => one.value);
        command.positions.push({ channel: channel.toString(), symbol: symbol.toString(), epoch, sequence: sequence ?? 0 });
      } else if (field.number === 2 && Buffer.isBuffer(field.value)) command.channel = field.value.toString();
      if (field.number === 3 && Buffer.isBuffer(field.value)) command.symbols.push(field.value.toString());
    }
    return command;
  },
};
function fields(bytes) {
  const out = [];
  let at = 0;
  const next = () => { let value = 0, scale = 1; for (; ; scale *= 128) { const byte = bytes[at++]; value += (byte & 127) * scale; if (byte < 128) return value; } };
  while (at < bytes.length) {
    const key = next(), wire = key & 7, size = wire === 2 ? next() : 8;
    const value = wire === 0 ? next() : bytes.subarray(at, (at += size));
    out.push({ number: key >> 3, value });
  }
  return out;
}

// ---- JSON encoding ---------------------------------------------------------------------------------------------------
const decimal = (value, decimals) => {
  if (value === null) return null;
  const digits = String(Math.abs(value)).padStart(decimals + 1, '0'), sign = value < 0 ? '-' : '';
  return decimals ? `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : sign + digits;
};
export function toJson({ scale, name, ...m }) {
  const price = (value) => decimal(value, scale.price_decimals), size = (value) => decimal(value, scale.size_decimals);
  const prices = { quote: ['bid_price', 'ask_price'], trade: ['price'], stat: ['open', 'high', 'low', 'last'], instrument: ['tick_size'] }[m.type] ?? [];
  const sizes = { quote: ['bid_size', 'ask_size'], trade: ['size'], stat: ['volume'], instrument: ['lot_size'] }[m.type] ?? [];
  for (const field of prices) m[field] = price(m[field]);
  for (const field of sizes) m[field] = size(m[field]);
  if (m.type === 'trade') m.id = String(m.id);
  if (m.type === 'book') for (const one of ['bids', 'asks']) m[one] = m[one].map(([p, s]) => [price(p), size(s)]);
  return JSON.stringify(m, (key, value) => (typeof value === 'bigint' ? String(value) : value));
}

/** Returns the checksum of the best ten levels: price and size as eight little-endian bytes each. */
export function crc32Of(bids, asks) {
  const bytes = Buffer.concat([...bids.slice(0, 10), ...asks.slice(0, 10)].flat().map((value) => { const eight = Buffer.alloc(8); eight.writeBigInt64LE(BigInt(value)); return eight; }));
  return crc32(bytes);
}
