// Socket.IO with a room per symbol: its own way of fanning out.
import http from 'node:http'
import { Server } from 'socket.io'
import { addresses, listenForUpdates } from './updates.mjs'

const { listen, publish } = addresses()
const listener = http.createServer()
const io = new Server(listener)
io.on('connection', (socket) => {
  socket.on('sub', (symbols) => {
    socket.join(symbols.map((symbol) => `u.${symbol}`))
    socket.emit('ok')
  })
})
listener.listen(listen, async () => {
  await listenForUpdates(publish, (symbol, update) => io.to(`u.${symbol}`).emit('u', update))
  console.log('ready')
})
