import { describe, expect, test } from 'vitest'
import {
  Atom,
  encodeTerm,
  Envelope,
  EtfError,
  NEED_MORE,
  scanEnvelope,
  skipTerm,
} from '../../src/etf/index.ts'
import type { EncodeOptions } from '../../src/etf/index.ts'

const NAME = new Atom('MESSAGE_CREATE')
/** A text that is, byte for byte, the tail of another payload. */
const FAKE_TAIL = encodeTerm({ op: 7, s: 666, t: new Atom('FAKE') }, { keys: 'atom' }).subarray(6)
const FAKE_FRAME = encodeTerm({ d: {}, op: 7, s: 666, t: new Atom('FAKE') }, { keys: 'atom' })

const forms: [string, EncodeOptions][] = [
  ['ATOM_EXT', { keys: 'atom', atoms: 100 }],
  ['SMALL_ATOM_EXT', { keys: 'atom', atoms: 115 }],
  ['SMALL_ATOM_UTF8_EXT', { keys: 'atom', atoms: 119 }],
  ['BINARY_EXT', { keys: 'binary' }],
]

describe.each(forms)('an envelope with keys as %s', (_, options) => {
  const d = {
    id: 175928847299117063n,
    content: FAKE_TAIL,
    list: [FAKE_FRAME, 1.5, null],
    tail: FAKE_TAIL,
  }

  test('is read in each of the 24 orders of its keys', () => {
    const envelope = new Envelope()
    for (const order of permutations(['d', 'op', 's', 't'])) {
      const values: Record<string, unknown> = { d, op: 0, s: 7213, t: NAME }
      const bytes = encodeTerm(Object.fromEntries(order.map((key) => [key, values[key]])), options)
      expectEnvelope(bytes, envelope, { op: 0, sequence: 7213, name: 'MESSAGE_CREATE', d })
    }
  })

  test('keeps its answers when orders, names and sequences change from frame to frame', () => {
    const envelope = new Envelope()
    const orders = permutations(['d', 'op', 's', 't'])
    for (let index = 0; index < 200; index++) {
      const name = 'GUILD_SCHEDULED_EVENT_USER_REMOVE'.slice(0, 1 + ((index * 7) % 33))
      const sequence = [index, 2 ** 31 + index, 2 ** 40 + index][index % 3]!
      const values: Record<string, unknown> = { d, op: 0, s: sequence, t: new Atom(name) }
      const order = orders[(index >> 2) % orders.length]!
      const bytes = encodeTerm(Object.fromEntries(order.map((key) => [key, values[key]])), options)
      expectEnvelope(bytes, envelope, { op: 0, sequence, name, d })
    }
  })

  test.each([
    ['nil', null, -1],
    ['absent', undefined, -1],
    ['0', 0, 0],
    ['255', 255, 255],
    ['256', 256, 256],
    ['above 2^31', 3_000_000_000, 3_000_000_000],
    ['a small big of few digits', 5n, 5],
    ['the largest safe integer', 2 ** 53 - 1, 2 ** 53 - 1],
  ])('reads s when it is %s', (_name, s, sequence) => {
    const envelope = new Envelope()
    for (const bytes of [
      encodeTerm({ d, op: 0, s, t: NAME }, options),
      encodeTerm({ s, t: NAME, op: 0, d }, options),
    ]) {
      expectEnvelope(bytes, envelope, { op: 0, sequence, name: 'MESSAGE_CREATE', d })
    }
  })

  test('reads t as atom, binary, nil and absent', () => {
    const envelope = new Envelope()
    for (const [t, name] of [
      [NAME, 'MESSAGE_CREATE'],
      ['MESSAGE_CREATE', 'MESSAGE_CREATE'],
      ['', ''],
      [null, ''],
      [undefined, ''],
    ] as const) {
      expectEnvelope(encodeTerm({ d, op: 0, s: 1, t }, options), envelope, {
        op: 0,
        sequence: 1,
        name,
        d,
      })
    }
  })

  test('reads d of every kind, in front and behind', () => {
    const envelope = new Envelope()
    for (const value of [null, true, 0, -1, 1.5, 'x', [], {}, [1, 2], 1n << 70n, { d: { d: 1 } }]) {
      for (const bytes of [
        encodeTerm({ d: value, op: 11, s: null, t: null }, options),
        encodeTerm({ op: 11, s: null, t: null, d: value }, options),
        encodeTerm({ op: 11, d: value }, options),
        encodeTerm({ d: value, op: 11 }, options),
      ]) {
        expectEnvelope(bytes, envelope, { op: 11, sequence: -1, name: '', d: value })
      }
    }
  })

  test('reads a payload without d', () => {
    const envelope = new Envelope()
    const bytes = encodeTerm({ op: 7, s: null, t: null }, options)
    expect(scanEnvelope(bytes, 0, bytes.length, envelope)).toBe(bytes.length)
    expect([envelope.op, envelope.dStart, envelope.dEnd]).toEqual([7, -1, -1])
  })

  test('steps over keys that it does not know, wherever they stand', () => {
    const envelope = new Envelope()
    const fields: [unknown, unknown][] = [
      ['d', d],
      ['op', 0],
      ['s', 3],
      ['t', NAME],
    ]
    for (const key of ['x', 1, 5_000_000_000n, [1], new Atom('__struct__'), null]) {
      for (let place = 0; place <= 4; place++) {
        const pairs = fields.toSpliced(place, 0, [key, { s: 9, t: 'no', d: FAKE_FRAME }])
        const bytes = encodeTerm(new Map(pairs), options)
        expectEnvelope(bytes, envelope, { op: 0, sequence: 3, name: 'MESSAGE_CREATE', d })
      }
    }
  })
})

describe('scanEnvelope', () => {
  test('reads s and op that come as floats', () => {
    const float = (value: number): Buffer => {
      const bytes = Buffer.alloc(9)
      bytes[0] = 70
      bytes.writeDoubleBE(value, 1)
      return bytes
    }
    const bytes = frame(['d', Buffer.from([106])], ['op', float(0)], ['s', float(3e9)])
    const envelope = new Envelope()
    expect(scanEnvelope(bytes, 0, bytes.length, envelope)).toBe(bytes.length)
    expect([envelope.op, envelope.sequence]).toEqual([0, 3e9])
  })

  test('reads a payload in the middle of a larger buffer', () => {
    const bytes = encodeTerm({ d: { a: 1 }, op: 0, s: 1, t: NAME }, { keys: 'atom' })
    const padded = Buffer.concat([Buffer.alloc(7, 131), bytes, Buffer.alloc(9, 116)])
    const envelope = new Envelope()
    expect(scanEnvelope(padded, 7, 7 + bytes.length, envelope)).toBe(7 + bytes.length)
    expect(skipTerm(padded, envelope.dStart, envelope.dEnd)).toBe(envelope.dEnd)
    expect(envelope.dStart).toBe(7 + 10)
  })

  test('takes the last of equal keys, as decodeTerm does', () => {
    const small = (value: number): Buffer => Buffer.from([97, value])
    const envelope = new Envelope()
    for (const bytes of [
      frame(['d', small(1)], ['op', small(2)], ['d', small(3)], ['op', small(4)]),
      frame(
        ['op', small(2)],
        ['d', Buffer.from([104, 1, 97, 1])],
        ['op', small(4)],
        ['d', small(3)],
      ),
      frame(
        ['d', Buffer.from([104, 1, 97, 1])],
        ['op', small(2)],
        ['op', small(4)],
        ['d', small(3)],
      ),
    ]) {
      expect(scanEnvelope(bytes, 0, bytes.length, envelope)).toBe(bytes.length)
      expect(envelope.op).toBe(4)
      expect([...bytes.subarray(envelope.dStart, envelope.dEnd)]).toEqual([97, 3])
    }
  })

  test('does not walk d: a frame of 8 MiB takes no longer than one of 1 KiB', () => {
    const big = encodeTerm(
      { d: { x: 'y'.repeat(8 << 20) }, op: 0, s: 1, t: NAME },
      { keys: 'atom' },
    )
    const many = encodeTerm(
      { d: Array.from({ length: 500_000 }, (_, index) => index), op: 0, s: 1, t: NAME },
      { keys: 'atom' },
    )
    const envelope = new Envelope()
    const started = performance.now()
    for (let round = 0; round < 1000; round++) {
      scanEnvelope(big, 0, big.length, envelope)
      scanEnvelope(many, 0, many.length, envelope)
    }
    // Walking the list would take milliseconds each time.
    expect(performance.now() - started).toBeLessThan(500)
    expect(envelope.dEnd - envelope.dStart).toBeGreaterThan(1_000_000)
  })

  test.each([
    ['text', Buffer.from('{"op":10}'), 'ETF_BAD_VERSION'],
    ['another version', Buffer.from([130, 116, 0, 0, 0, 0]), 'ETF_BAD_VERSION'],
    ['a list', encodeTerm([1]), 'ETF_BAD_ENVELOPE'],
    ['nil', encodeTerm(null), 'ETF_BAD_ENVELOPE'],
    ['a map without op', encodeTerm({ d: {}, s: 1 }), 'ETF_BAD_ENVELOPE'],
    ['an empty map', encodeTerm({}), 'ETF_BAD_ENVELOPE'],
    ['op as text', encodeTerm({ op: 'x', d: {} }), 'ETF_BAD_ENVELOPE'],
    ['op below zero', encodeTerm({ d: {}, op: -1 }), 'ETF_BAD_ENVELOPE'],
    ['s as text', encodeTerm({ d: {}, op: 0, s: 'x' }), 'ETF_BAD_ENVELOPE'],
    ['s below zero', encodeTerm({ d: {}, op: 0, s: -5 }), 'ETF_BAD_ENVELOPE'],
    ['s with a fraction', encodeTerm({ d: {}, op: 0, s: 1.5 }), 'ETF_BAD_ENVELOPE'],
    ['s beyond 2^53', encodeTerm({ d: {}, op: 0, s: 1n << 60n }), 'ETF_BAD_ENVELOPE'],
    ['t as a list', encodeTerm({ d: {}, op: 0, t: [1] }), 'ETF_BAD_ENVELOPE'],
    ['a name of 1 MiB', encodeTerm({ d: {}, op: 0, t: 'N'.repeat(1 << 20) }), 'ETF_LIMIT'],
    ['a name of 256 bytes', encodeTerm({ t: 'N'.repeat(256), op: 0, d: {} }), 'ETF_LIMIT'],
    ['an unknown tag', Buffer.from([131, 200, 0, 0]), 'ETF_UNKNOWN_TAG'],
    ['a compressed payload', Buffer.from([131, 80, 0, 0, 0, 5, 120]), 'ETF_BAD_ENVELOPE'],
  ])('refuses %s', (_name, bytes, code) => {
    expectCode(() => scanEnvelope(bytes, 0, bytes.length, new Envelope()), code)
  })

  test('a map that claims 2^32 pairs costs nothing', () => {
    const bytes = Buffer.from([131, 116, 255, 255, 255, 255, 100, 0, 1, 100, 106])
    const started = performance.now()
    expect(scanEnvelope(bytes, 0, bytes.length, new Envelope())).toBe(NEED_MORE)
    expect(performance.now() - started).toBeLessThan(50)
  })
})

interface Facts {
  op: number
  sequence: number
  name: string
  d: unknown
}

function expectEnvelope(bytes: Uint8Array, envelope: Envelope, facts: Facts): void {
  expect(scanEnvelope(bytes, 0, bytes.length, envelope)).toBe(bytes.length)
  expect({
    op: envelope.op,
    sequence: envelope.sequence,
    name: Buffer.from(bytes.subarray(envelope.nameStart, envelope.nameEnd)).toString(),
  }).toEqual({ op: facts.op, sequence: facts.sequence, name: facts.name })
  // The term of d as it stands in the frame, whatever the tags of its keys.
  const start = envelope.dStart
  expect(skipTerm(bytes, start, bytes.length)).toBe(envelope.dEnd)
  const key = Buffer.from(bytes.subarray(0, start))
  expect(key.at(-1)).toBe(0x64)
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item, index) =>
    permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]),
  )
}

/** A map of binary keys and raw terms, which may repeat keys. */
function frame(...pairs: readonly (readonly [string, Uint8Array])[]): Buffer {
  return Buffer.concat([
    Buffer.from([131, 116, 0, 0, 0, pairs.length]),
    ...pairs.flatMap(([key, term]) => [
      Buffer.from([109, 0, 0, 0, key.length]),
      Buffer.from(key),
      term,
    ]),
  ])
}

function expectCode(read: () => unknown, code: string): void {
  expect(read).toThrow(EtfError)
  expect(read).toThrow(`[${code}]`)
}
