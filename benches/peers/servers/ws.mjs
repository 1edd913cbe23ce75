// A plain `ws` server as most people write it: a set of sockets per symbol, one send() for each.
import { WebSocketServer } from 'ws'
import { addresses, listenForUpdates } from './updates.mjs'

const { listen, publish } = addresses()
const subscribers = new Map()

const server = new WebSocketServer(listen)
server.on('connection', (socket) => {
  const mine = []
  socket.on('message', (symbols) => {
    for (let at = 0; at < symbols.length; at += 4) {
      const symbol = symbols.readUInt32LE(at)
      if (!subscribers.has(symbol)) subscribers.set(symbol, new Set())
      subscribers.get(symbol).add(socket)
      mine.push(symbol)
    }
    socket.send('ok')
  })
  socket.on('close', () => mine.forEach((symbol) => subscribers.get(symbol).delete(socket)))
  socket.on('error', () => socket.terminate())
})
server.on('listening', async () => {
  await listenForUpdates(publish, (symbol, update) => {
    const sockets = subscribers.get(symbol)
    if (sockets) for (const socket of sockets) socket.send(update)
  })
  console.log('ready')
})
