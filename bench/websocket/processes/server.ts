/** The load: a TLS server that sends ready-made frames to every connection, paced or as fast as they are taken. */
import { createHash } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { selfSigned } from '../../../sim/index.ts'
import type { Load, ServerMessage } from '../messages.ts'

/** What a dispatch of the usual mix has after zlib-stream; bench/README.md. */
const PAYLOAD_BYTES = 240
const FRAME = Buffer.concat([
  Buffer.from([0x82, 126, 0, PAYLOAD_BYTES]),
  Buffer.alloc(PAYLOAD_BYTES, 7),
])
/** A coalesced write. */
const FRAMES_PER_WRITE = 256
const TICK_MS = 2

const sockets: TLSSocket[] = []
const { cert, key } = selfSigned(['localhost'], Date.now())
const server = createServer({ cert, key }, (socket) => {
  socket.on('error', () => undefined)
  socket.once('data', (chunk) => {
    const sent = /sec-websocket-key: (.+)\r\n/i.exec(chunk.toString('latin1'))?.[1] ?? ''
    const accept = createHash('sha1').update(`${sent}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
    )
    socket.setNoDelay(true)
    sockets.push(socket)
    socket.resume()
  })
  socket.once('close', () => {
    const index = sockets.indexOf(socket)
    if (index !== -1) sockets.splice(index, 1)
  })
})
server.listen(0, 'localhost', () => {
  tell({ type: 'listening', port: (server.address() as AddressInfo).port, cert })
})

process.on('message', (load: Load) => {
  if (load.rate === 0) flood(load.frames)
  else pace(load.frames, load.rate)
})

/** One frame in a write, round robin, as a gateway sends them. */
function pace(frames: number, rate: number): void {
  const start = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const due = Math.min(frames, Math.round(((performance.now() - start) * rate) / 1000))
    for (; sent < due; sent++) sockets[sent % sockets.length]?.write(FRAME)
    if (sent === frames) clearInterval(timer)
  }, TICK_MS)
}

/** Many frames in a write, as they arrive when a client is behind. */
function flood(frames: number): void {
  const chunk = Buffer.concat(Array.from({ length: FRAMES_PER_WRITE }, () => FRAME))
  const writes = Math.ceil(frames / FRAMES_PER_WRITE / sockets.length)
  for (const socket of sockets) {
    let left = writes
    const fill = (): void => {
      while (left > 0) {
        left--
        if (!socket.write(chunk)) {
          socket.once('drain', fill)
          return
        }
      }
    }
    fill()
  }
}

function tell(message: ServerMessage): void {
  process.send?.(message)
}
