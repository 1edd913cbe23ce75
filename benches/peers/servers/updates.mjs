// The common parts of the Node servers: where to listen, and updates from the publisher. An update is 40 bytes, the
// first eight are the symbol's number, little-endian; see ../README.md.
import net from 'node:net'
import { parseArgs } from 'node:util'

export const UPDATE_BYTES = 40

/** `{listen: {host, port}, publish: {host, port}}` from `--listen HOST:PORT --publish HOST:PORT`. */
export function addresses() {
  const { values } = parseArgs({ options: { listen: { type: 'string' }, publish: { type: 'string' } } })
  const split = (text) => {
    const [host, port] = text.split(':')
    return { host, port: Number(port), backlog: 4096 }
  }
  return { listen: split(values.listen), publish: split(values.publish) }
}

/** Calls `each(symbol, update)` for every update that comes in by plain TCP. Resolves when it listens. */
export function listenForUpdates(address, each) {
  const server = net.createServer((socket) => {
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      const bytes = rest.length ? Buffer.concat([rest, chunk]) : chunk
      let at = 0
      for (; at + UPDATE_BYTES <= bytes.length; at += UPDATE_BYTES) {
        each(bytes.readUInt32LE(at), bytes.subarray(at, at + UPDATE_BYTES))
      }
      rest = bytes.subarray(at)
    })
    socket.on('error', () => socket.destroy())
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(address, resolve)
  })
}
