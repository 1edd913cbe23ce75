// CRC-32 (IEEE), as in the contract. Node has one of its own from 22.2 on.
const TABLE = Uint32Array.from({ length: 256 }, (_, i) => { for (let bit = 0; bit < 8; bit++) i = i & 1 ? (i >>> 1) ^ 0xedb88320 : i >>> 1; return i; });
export const crc32 = (bytes) => (bytes.reduce((crc, byte) => TABLE[(crc ^ byte) & 255] ^ (crc >>> 8), -1) ^ -1) >>> 0;
