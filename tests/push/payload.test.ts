import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decodeTerm, encodeTerm, EtfError } from '../../src/etf/index.ts'
import { ByteArena } from '../../src/push/byte-arena.ts'
import { type PayloadEncoding, type PayloadForm, payloadWriter } from '../../src/push/payload.ts'
import type { PushEvent } from '../../src/push/index.ts'
import { pushEvent } from './events.ts'

function written(form: PayloadForm, encoding: PayloadEncoding, event: PushEvent): Buffer {
  const arena = new ByteArena()
  arena.reserve(3)
  arena.take(3)
  const length = payloadWriter(form, encoding).write(event, arena)
  return Buffer.from(arena.bytes.subarray(arena.end, arena.end + length))
}

const d = {
  id: 290926798626357999n,
  content: 'Grüße 👋 "quoted" \\ \u0000',
  list: [1, 2.5, null, true],
  nested: { a: {} },
}

describe('payload d', () => {
  test('in ETF is the term as it came, behind the version byte', () => {
    const event = pushEvent({ d })
    const bytes = written('d', 'etf', event)
    expect(bytes).toEqual(
      Buffer.concat([Buffer.from([131]), event.bytes.subarray(event.start, event.end)]),
    )
    expect(decodeTerm(bytes)).toEqual(d)
  })

  test('in bare ETF is the term as it came', () => {
    const event = pushEvent({ d })
    expect(written('d', 'etf-bare', event)).toEqual(
      Buffer.from(event.bytes.subarray(event.start, event.end)),
    )
  })

  test('in JSON is what the JSON gateway would show', () => {
    expect(JSON.parse(written('d', 'json', pushEvent({ d })).toString())).toEqual({
      ...d,
      id: '290926798626357999',
    })
  })

  test('takes a plain Uint8Array for the bytes of a frame', () => {
    const event = pushEvent({ d })
    const plain = { ...event, bytes: new Uint8Array(event.bytes) }
    expect(decodeTerm(written('d', 'etf', plain))).toEqual(d)
  })

  test('in JSON is refused when the bytes are no term', () => {
    const event = pushEvent()
    const broken = { ...event, bytes: Buffer.from([109, 0, 0, 1, 0, 65]), start: 0, end: 6 }
    expect(() => written('d', 'json', broken)).toThrow(EtfError)
  })
})

describe('payload envelope', () => {
  const cases: readonly Partial<PushEvent>[] = [
    { sequence: 0, shardId: 0, shardCount: 1 },
    { sequence: 255, shardId: 255, shardCount: 256 },
    { sequence: 256, shardId: 719, shardCount: 720 },
    { sequence: 2_147_483_647, receivedAtMs: 2_147_483_648 },
    { sequence: 5_000_000_000, receivedAtMs: Number.MAX_SAFE_INTEGER },
    { eventName: 'GUILD_CREATE', guildClass: 'joined', sessionId: 'ünïcode-session' },
    { sessionId: '' },
  ]
  for (const given of cases) {
    const event = pushEvent({ d, ...given })
    const envelope = {
      t: event.eventName,
      s: event.sequence,
      op: 0,
      d,
      shard: event.shardId,
      shard_count: event.shardCount,
      session_id: event.sessionId,
      class: event.guildClass,
      received_at: event.receivedAtMs,
    }

    test(`decodes back from ETF: ${JSON.stringify(given)}`, () => {
      const bytes = written('envelope', 'etf', event)
      expect(asNumbers(decodeTerm(bytes))).toEqual(envelope)
      expect(written('envelope', 'etf-bare', event)).toEqual(bytes.subarray(1))
    })

    test(`decodes back from JSON: ${JSON.stringify(given)}`, () => {
      const text = written('envelope', 'json', event).toString()
      expect(JSON.parse(text)).toEqual({ ...envelope, d: { ...d, id: '290926798626357999' } })
    })
  }

  test('in ETF is the same bytes that an encoder with binary keys would write', () => {
    const event = pushEvent({ d: { a: 1 }, sequence: 7, shardId: 2, receivedAtMs: 1000 })
    const expected = encodeTerm({
      t: 'MESSAGE_CREATE',
      s: 7,
      op: 0,
      d: { a: 1 },
      shard: 2,
      shard_count: 4,
      session_id: 'session-a',
      class: '',
      received_at: 1000,
    })
    expect(written('envelope', 'etf', event)).toEqual(Buffer.from(expected))
  })

  test('fits whatever it writes into what it reserved', () => {
    const arena = new ByteArena()
    const writer = payloadWriter('envelope', 'etf')
    for (let size = 0; size < 3000; size += 7) {
      const event = pushEvent({
        d: 'x'.repeat(size),
        sequence: Number.MAX_SAFE_INTEGER,
        sessionId: 's'.repeat(size % 200),
        receivedAtMs: Number.MAX_SAFE_INTEGER,
      })
      const length = writer.write(event, arena)
      expect(arena.end + length).toBeLessThanOrEqual(arena.bytes.length)
      arena.take(length)
    }
  })
})

test('the proto file numbers its fields as the hand-written encoder does', () => {
  const proto = readFileSync(new URL('../../proto/events.proto', import.meta.url), 'utf8')
  const numbers = Object.fromEntries(
    [...proto.slice(proto.indexOf('message Event {')).matchAll(/ (\w+) = (\d+);/g)].map(
      ([, name, number]) => [name, Number(number)],
    ),
  )
  expect(numbers).toEqual({
    t: 1,
    s: 2,
    shard: 3,
    shard_count: 4,
    session_id: 5,
    class: 6,
    received_at: 7,
    encoding: 8,
    d: 9,
    number: 10,
    late: 11,
  })
})

/** Integers above 2^32 come back as bigint. */
function asNumbers(term: unknown): unknown {
  return Object.fromEntries(
    Object.entries(term as Record<string, unknown>).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? Number(value) : value,
    ]),
  )
}
