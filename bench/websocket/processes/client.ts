/** A contender: opens the connections, counts what it receives and drops it, reports its own CPU and memory. */
import { createSecureContext } from 'node:tls'
import { WebSocket } from 'ws'
import type { ClientOptions } from 'ws'
import { systemClock } from '../../../src/base/index.ts'
import { ReadTurns, WebSocketClient } from '../../../src/shard/index.ts'
import type { ClientMessage, ClientOrder } from '../messages.ts'

const OPENING_AT_ONCE = 16

let frames = 0
let bytes = 0
let frameGoal = 0
let cpuAtOpen = process.cpuUsage()

process.on('message', (order: ClientOrder) => void run(order))

async function run(order: ClientOrder): Promise<void> {
  frameGoal = order.frames
  const open = order.who === 'ours' ? ourOpener(order) : wsOpener(order)
  // The first connection pays for what all share.
  await open()
  collect()
  const before = process.memoryUsage.rss()
  for (let opened = 1; opened < order.connections; opened += OPENING_AT_ONCE) {
    const count = Math.min(OPENING_AT_ONCE, order.connections - opened)
    await Promise.all(Array.from({ length: count }, open))
  }
  collect()
  const grown = process.memoryUsage.rss() - before
  cpuAtOpen = process.cpuUsage()
  tell({ type: 'open', rssBytesPerConnection: grown / Math.max(1, order.connections - 1) })
}

function onFrame(length: number): void {
  frames++
  bytes += length
  if (frames !== frameGoal) return
  const { user, system } = process.cpuUsage(cpuAtOpen)
  tell({ type: 'done', frames, bytes, cpuMicros: user + system })
}

function ourOpener(order: ClientOrder): () => Promise<void> {
  const secureContext = createSecureContext({ ca: order.cert })
  const turns = new ReadTurns(systemClock)
  const handler = {
    onMessage: (_bytes: Buffer, start: number, end: number): void => onFrame(end - start),
    onFault: fail,
    onClosed: fail,
    onUnreachable: fail,
  }
  return () => {
    const client = new WebSocketClient(
      order.url,
      {
        userAgent: 'bench',
        messageBytesMax: 1 << 20,
        handshakeTimeoutMs: 30_000,
        closeTimeoutMs: 1000,
        secureContext,
        turns,
        clock: systemClock,
      },
      handler,
    )
    return opened(() => client.isOpen)
  }
}

function wsOpener(order: ClientOrder): () => Promise<void> {
  // The context is an option of tls.connect() that ws hands on.
  const options = {
    secureContext: createSecureContext({ ca: order.cert }),
    perMessageDeflate: false,
  } as ClientOptions
  return () => {
    const socket = new WebSocket(order.url, options)
    socket.on('message', (data) => onFrame((data as Buffer).length))
    socket.on('error', fail)
    return opened(() => socket.readyState === WebSocket.OPEN)
  }
}

async function opened(isOpen: () => boolean): Promise<void> {
  while (!isOpen()) await new Promise((resolve) => setTimeout(resolve, 2))
}

function collect(): void {
  globalThis.gc?.()
}

function fail(...why: unknown[]): void {
  console.error('a connection failed:', ...why)
  process.exit(1)
}

function tell(message: ClientMessage): void {
  process.send?.(message)
}
