import { deepStrictEqual } from 'node:assert'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/index.ts'
import {
  Atom,
  ByteBuffer,
  decodeTerm,
  encodeTerm,
  Envelope,
  EtfError,
  FieldReader,
  INFLATED_BYTES_MAX,
  ListReader,
  MapReader,
  NEED_MORE,
  scanEnvelope,
  skipTerm,
  termToJson,
} from '../../src/etf/index.ts'
import { World } from '../../sim/index.ts'
import type { ClientView } from '../../sim/index.ts'
import { discordJson } from './support/discord-json.ts'
import { accepted } from './support/vectors.ts'

const SEED = 20261120
const BOT_USER_ID = 1_100_000_000_000_000_001n
const MUTATIONS = 20_000
/** Of frames above EXHAUSTED_BYTES_MAX. */
const LARGE_MUTATIONS = 20_000
const LARGE_BYTES_MAX = 24_576
const COMPRESSED = 80
const FIXTURE_BYTES_MAX = 1500
const EXHAUSTED_BYTES_MAX = 4096

/**
 * What all readers together may take for one input: some ten nanoseconds a byte is what they need, a microsecond
 * is what they get. What grows with the square of the length, or with what a length claims, takes more.
 */
const FIXED_MS = 4
const BYTES_PER_MS = 1000
const SLOW_TRIES = 6

const fixtures = accepted
  .map(({ bytes }) => bytes)
  .filter((bytes) => bytes.length <= FIXTURE_BYTES_MAX)
const message = encodeTerm(
  {
    d: {
      id: 175928847299117063n,
      author: { id: 80351110224678912n, username: 'é', bot: false, avatar: null },
      mentions: [{ id: 1n << 62n, member: { roles: [1n << 60n], nick: null } }],
      shard: [0, 16],
      content: 'x'.repeat(40),
      ratio: 0.5,
    },
    op: 0,
    s: 70_000,
    t: new Atom('MESSAGE_CREATE'),
  },
  { keys: 'atom', strings: true },
)

/** GUILD_CREATE, and the vectors that are as large. */
const largeFrames = [...accepted.map(({ bytes }) => bytes), ...guildFrames()].filter(
  ({ length }) => length > EXHAUSTED_BYTES_MAX && length <= LARGE_BYTES_MAX,
)

// A stack for each of some hundred thousand refusals would be most of the time.
const stackTraceLimit = Error.stackTraceLimit
beforeAll(() => void (Error.stackTraceLimit = 0))
afterAll(() => void (Error.stackTraceLimit = stackTraceLimit))

describe(`mutated terms (seed ${SEED})`, () => {
  test('each byte of a dispatch with 8 other values is read, or refused with an EtfError', () => {
    const bytes = Buffer.from(message)
    for (let at = 0; at < bytes.length; at++) {
      const original = bytes[at]!
      for (const value of [0, 1, 104, 108, 116, 255, original ^ 1, original ^ 0x80]) {
        bytes[at] = value
        check(bytes, `byte ${at} = ${value}`)
      }
      bytes[at] = original
    }
  })

  test('each byte of every fixture up to 4 KiB with 8 other values is read, or refused with an EtfError', {
    timeout: 180_000,
  }, () => {
    for (const { name, bytes: fixture } of accepted) {
      if (fixture.length > EXHAUSTED_BYTES_MAX) continue
      const bytes = Buffer.from(fixture)
      for (let at = 1; at < bytes.length; at++) {
        const original = bytes[at]!
        for (const value of [0, 1, 104, 108, 116, 255, original ^ 1, original ^ 0x80]) {
          bytes[at] = value
          checkFast(bytes, `${name}, byte ${at}`)
        }
        bytes[at] = original
      }
    }
  })

  test(`${MUTATIONS} mutations are read, or refused with an EtfError`, () => {
    const random = seededRandom(SEED)
    const below = (limit: number): number => Math.floor(random() * limit)
    for (let round = 0; round < MUTATIONS; round++) {
      const source = round % 3 === 0 ? Buffer.from(message) : fixtures[below(fixtures.length)]!
      const bytes = mutated(source, below)
      if (bytes.length > 1) check(bytes, `round ${round}`)
    }
  })

  test(`${LARGE_MUTATIONS} mutations of frames above 4 KiB are read, or refused with an EtfError`, () => {
    expect(largeFrames.length).toBeGreaterThan(8)
    const random = seededRandom(SEED)
    const below = (limit: number): number => Math.floor(random() * limit)
    for (let round = 0; round < LARGE_MUTATIONS; round++) {
      const source = largeFrames[round % largeFrames.length]!
      const bytes = mutated(source, below)
      if (bytes.length > 1) checkFast(bytes, `round ${round}`)
    }
  })
})

function mutated(source: Buffer, below: (limit: number) => number): Buffer {
  let bytes = Buffer.from(source)
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = 1 + below(bytes.length - 1)
    const kind = below(5)
    if (kind === 0) bytes[at] = below(256)
    else if (kind === 1) bytes[at] = 97 + below(24)
    else if (kind === 2) bytes[at] = bytes[at]! ^ (1 << below(8))
    else if (kind === 3) {
      bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(8))])
    } else {
      const from = below(source.length)
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        source.subarray(from, from + below(20)),
        bytes.subarray(at),
      ])
    }
  }
  return bytes
}

function guildFrames(): Buffer[] {
  const world = new World({ seed: SEED, guilds: 24, membersMax: 24, membersMedian: 8 })
  const view: ClientView = { intents: 0xff_ffff, largeThreshold: 250, botUserId: BOT_USER_ID }
  return world.guildIds(0, 1).map((id) => {
    const d = world.guildCreate(id, view)
    const payload = { d, op: 0, s: 7, t: new Atom('GUILD_CREATE') }
    return Buffer.from(encodeTerm(payload, { keys: 'atom', strings: true }))
  })
}

const out = new ByteBuffer()
const envelope = new Envelope()
const fields = new FieldReader(['id', 'd.id', 'd.author.id', 'd.mentions[]'])
const list = new ListReader()
const map = new MapReader()

/** What is cheap enough for hundreds of thousands: who reads and who refuses is the same for all. */
function checkFast(bytes: Buffer, where: string): void {
  linear(bytes, where, () => checkWhole(bytes, where))
}

/** In the processor's time where the clock says that it took long: that may be the machine. */
function linear(bytes: Buffer, where: string, run: () => void): void {
  const startMs = performance.now()
  run()
  const isCompressed = bytes[1] === COMPRESSED && bytes.length >= 6
  const inflated = isCompressed ? Math.min(bytes.readUInt32BE(2), INFLATED_BYTES_MAX) : 0
  const allowedMs = FIXED_MS + (bytes.length + inflated) / BYTES_PER_MS
  if (performance.now() - startMs <= allowedMs) return
  let bestMs = Number.POSITIVE_INFINITY
  for (let i = 0; i < SLOW_TRIES && bestMs > allowedMs; i++) {
    const start = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(start)
    bestMs = Math.min(bestMs, (user + system) / 1000)
  }
  if (bestMs > allowedMs) expect.fail(`${where}: ${bestMs} ms for ${bytes.length} bytes`)
}

function checkWhole(bytes: Buffer, where: string): void {
  const end = attempt(() => skipTerm(bytes, 1, bytes.length))
  const isDecoded = attempt(() => (decodeTerm(bytes), true)) ?? false
  const isJson =
    attempt(() => {
      out.clear()
      termToJson(bytes, 1, bytes.length, out)
      return true
    }) ?? false
  const fieldsEnd = attempt(() => fields.read(bytes, 1, bytes.length))
  if (isDecoded === isJson && (!isDecoded || (end === bytes.length && fieldsEnd === end))) return
  expect.fail(`${where}: ${bytes.toString('hex')}`)
}

/** Every reader reads or throws an EtfError, and those that succeed agree. */
function check(bytes: Buffer, where: string): void {
  linear(bytes, where, () => checkAll(bytes, where))
}

function checkAll(bytes: Buffer, where: string): void {
  try {
    const end = attempt(() => skipTerm(bytes, 1, bytes.length))
    const decoded = bytes[0] === 131 ? attempt(() => ({ value: decodeTerm(bytes) })) : null
    const isJson = attempt(() => {
      out.clear()
      termToJson(bytes, 1, bytes.length, out)
      return true
    })
    const fieldsEnd = attempt(() => fields.read(bytes, 1, bytes.length))
    const scanned = attempt(() => scanEnvelope(bytes, 0, bytes.length, envelope))
    attempt(() => {
      if (map.open(bytes, 1, bytes.length)) while (map.next());
      if (list.open(bytes, 1, bytes.length)) while (list.next());
    })
    if (decoded === null) {
      if (bytes[0] === 131) expect(isJson).toBeNull()
      return
    }
    expect(end).toBe(bytes.length)
    expect(fieldsEnd).toBe(bytes.length)
    expect(isJson).toBe(true)
    deepStrictEqual(JSON.parse(out.toString()), JSON.parse(discordJson(decoded.value)))
    if (scanned === null || scanned === NEED_MORE) return
    // The scanner does not walk d: where d is damaged it may see another frame, and reading d fails.
    const { dStart, dEnd } = envelope
    if (dStart !== -1 && attempt(() => skipTerm(bytes, dStart, dEnd)) !== dEnd) return
    const payload = decoded.value as Record<string, unknown>
    expect(envelope.op).toBe(payload.op)
    expect(envelope.sequence).toBe(payload.s ?? -1)
  } catch (error) {
    throw new Error(`${where}: ${bytes.toString('hex')}`, { cause: error })
  }
}

/** Null where the bytes were refused as they may be. */
function attempt<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (error instanceof EtfError) return null
    throw error
  }
}
