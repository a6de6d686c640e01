/**
 * A Discord that sends more than a contender can take: REST, TLS, the handshake of each connection, and events
 * from frames made beforehand. Told by the bench what to send; knows what it has sent.
 */
import { createHash } from 'node:crypto'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { inflateSync, constants } from 'node:zlib'
import { selfSigned } from '../../../sim/index.ts'
import { makeCycle, type Frame, writeFrame } from '../frames.ts'
import { LeanConnection, type LeanHost, type LeanSession } from '../lean-connection.ts'
import type { GeneratorCommand, GeneratorOptions, GeneratorReady, Group } from '../messages.ts'
import { EventSource } from '../mixes.ts'

const options = JSON.parse(process.argv[2]!) as GeneratorOptions
/** Frames over all connections of a group; a cycle has no fewer than FRAMES_MIN. */
const FRAMES = 28_800
const FRAMES_MIN = 8
const TICK_MS = 1
/** What an overloaded generator may owe; the rest is not sent at all. */
const OWED_MS_MAX = 250
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

const source = new EventSource(options.mix, options.shards)
const cycles = new Map<string, readonly Frame[]>()
const connections = new Map<Group, (LeanConnection | undefined)[]>()
const sessions = new Map<string, { shardId: number; session: LeanSession }>()
const counts = {
  identifies: 0,
  resumes: 0,
  heartbeatLateMs: 0,
  sentBefore: new Map<Group, number>(),
}
for (const group of options.groups) connections.set(group, [])

const certificate = selfSigned(['localhost', '127.0.0.1'], Date.now())
const sockets = options.tls
  ? createHttpsServer({ cert: certificate.cert, key: certificate.key })
  : createHttpServer()
sockets.on('upgrade', (request, socket: Socket) => {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`)
  socket.setNoDelay(true)
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
  )
  const encoding = url.searchParams.get('encoding') === 'json' ? 'json' : 'etf'
  const floorShard = url.searchParams.get('floor')
  const group = floorShard !== null ? 'floor' : encoding === 'json' ? 'discordjs' : 'gateway'
  const connection = new LeanConnection(group, socket, encoding, hostOf(group))
  socket.on('error', () => undefined)
  socket.on('close', () => leave(connection))
  connection.hello()
  if (floorShard !== null) {
    const shardId = Number(floorShard)
    enter(connection, shardId)
    connection.begin(shardId, { id: '', sequence: 0 }, cycleOf(shardId, 'etf'))
  }
})

const rest = createHttpServer((_, response) => {
  const limit = {
    total: 1_000_000,
    remaining: 1_000_000,
    reset_after: 86_400_000,
    max_concurrency: options.shards,
  }
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ url: url(), shards: options.shards, session_start_limit: limit }))
})

function url(): string {
  return `${options.tls ? 'wss' : 'ws'}://localhost:${(sockets.address() as AddressInfo).port}`
}

function cycleOf(shardId: number, encoding: 'etf' | 'json'): readonly Frame[] {
  const key = `${encoding} ${shardId}`
  let cycle = cycles.get(key)
  if (cycle === undefined) {
    const count = Math.max(FRAMES_MIN, Math.floor(FRAMES / options.shards))
    cycle = makeCycle(source.eventsOf(shardId, count), encoding, options.compression)
    cycles.set(key, cycle)
  }
  return cycle
}

function hostOf(group: Group): LeanHost {
  const encoding = group === 'discordjs' ? 'json' : 'etf'
  return {
    compression: options.compression,
    resumeUrl: url(),
    identified(connection, shardId) {
      counts.identifies++
      const session = { id: `${group}-${shardId}-${counts.identifies}`, sequence: 0 }
      sessions.set(session.id, { shardId, session })
      enter(connection, shardId)
      return { session, cycle: cycleOf(shardId, encoding) }
    },
    resumed(connection, sessionId) {
      const known = sessions.get(sessionId)
      if (known === undefined) return null
      counts.resumes++
      enter(connection, known.shardId)
      connection.shardId = known.shardId
      return { session: known.session, cycle: cycleOf(known.shardId, encoding) }
    },
    heartbeatLate(ms) {
      counts.heartbeatLateMs = Math.max(counts.heartbeatLateMs, ms)
    },
  }
}

/** A session has one connection: the one before it, which may not have seen its end yet, sends no more. */
function enter(connection: LeanConnection, shardId: number): void {
  const ofGroup = connections.get(connection.group)!
  ofGroup[shardId]?.supersede()
  ofGroup[shardId] = connection
}

function leave(connection: LeanConnection): void {
  const group = connections.get(connection.group)!
  const before = counts.sentBefore.get(connection.group) ?? 0
  counts.sentBefore.set(connection.group, before + connection.sent)
  if (group[connection.shardId] === connection) group[connection.shardId] = undefined
  connection.isStreaming = false
}

function streaming(group: Group): LeanConnection[] {
  return connections.get(group)!.filter((one) => one?.isStreaming === true) as LeanConnection[]
}

let stop: () => void = () => undefined

/** `rate` events a second, one write each, in turn over the connections. */
function pace(group: Group, rate: number): void {
  let at = 0
  let begin = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const now = performance.now()
    let due = Math.floor(((now - begin) / 1000) * rate) - sent
    if (due > (rate * OWED_MS_MAX) / 1000) {
      begin = now
      sent = 0
      due = 0
    }
    const list = connections.get(group)!
    for (let tries = list.length * 2; due > 0 && tries > 0; at = (at + 1) % list.length) {
      const connection = list[at]
      if (connection?.isStreaming !== true || !connection.isOpen) {
        tries--
        continue
      }
      connection.sendOne()
      sent++
      due--
    }
  }, TICK_MS)
  stop = () => clearInterval(timer)
}

/** As much as each socket takes. */
function flood(group: Group): void {
  let isOn = true
  stop = () => {
    isOn = false
  }
  const fill = (connection: LeanConnection): void => {
    if (!isOn || !connection.isStreaming || !connection.isOpen) return
    connection.sendMany(Number.POSITIVE_INFINITY)
    if (connection.needsDrain) connection.onDrain(() => setImmediate(fill, connection))
    else setImmediate(fill, connection)
  }
  for (const connection of streaming(group)) fill(connection)
}

function burst(group: Group, events: number): void {
  for (const connection of streaming(group)) {
    let left = events
    const fill = (): void => {
      if (!connection.isOpen || left === 0) return
      left -= connection.sendMany(left)
      if (connection.needsDrain) connection.onDrain(fill)
      else setImmediate(fill)
    }
    fill()
  }
}

process.on('message', (command: GeneratorCommand) => {
  const { group } = command
  if (command.do === 'start') {
    stop()
    if (command.rate === null) flood(group)
    else if (command.rate > 0) pace(group, command.rate)
  } else if (command.do === 'stop') {
    stop()
  } else if (command.do === 'burst') {
    burst(group, command.events)
  } else if (command.do === 'reconnect') {
    for (const connection of streaming(group)) connection.reconnect()
  }
  const list = streaming(group)
  process.send!({
    open: list.length,
    sent: (counts.sentBefore.get(group) ?? 0) + list.reduce((sum, one) => sum + one.sent, 0),
    identifies: counts.identifies,
    resumes: counts.resumes,
    heartbeatLateMs: counts.heartbeatLateMs,
  })
})
process.on('disconnect', () => process.exit(0))

/** Two rounds of a cycle with other sequences inflate to what was meant. */
function check(encoding: 'etf' | 'json'): void {
  const cycle = cycleOf(0, encoding)
  if (options.compression === 'zstd') return
  const parts: Buffer[] = [Buffer.from([0x78, 0x9c])]
  for (let round = 0; round < 2; round++) {
    cycle.forEach((frame, index) => {
      const out = Buffer.alloc(frame.bytes.length)
      writeFrame(frame, encoding, out, 0, 0xabc, round * 1000 + index, 123_456)
      parts.push(out.subarray(out[1] === 127 ? 10 : out[1] === 126 ? 4 : 2))
    })
  }
  const whole = inflateSync(Buffer.concat(parts), { finishFlush: constants.Z_SYNC_FLUSH })
  const expected = 2 * cycle.reduce((sum, frame) => sum + frame.payloadBytes, 0)
  const stamps = whole.toString('latin1').match(/0abc[0-9a-f]{8}00000001e240/g) ?? []
  if (whole.length !== expected || stamps.length !== 2 * cycle.length) {
    throw new Error(`the prepared ${encoding} frames do not inflate to their payloads`)
  }
}

const encodings = new Set(options.groups.map((group) => (group === 'discordjs' ? 'json' : 'etf')))
for (const encoding of encodings) {
  check(encoding)
  for (let shardId = 0; shardId < options.shards; shardId++) cycleOf(shardId, encoding)
}
sockets.listen(0, '127.0.0.1', 4096, () => {
  rest.listen(0, '127.0.0.1', () => {
    const api = `http://127.0.0.1:${(rest.address() as AddressInfo).port}/api`
    process.send!({ api, url: url(), certificate: certificate.cert } satisfies GeneratorReady)
  })
})
