import { describe, expect, test } from 'vitest'
import {
  Atom,
  ByteBuffer,
  decodeTerm,
  decodeTermAt,
  DEPTH_MAX,
  encodeTerm,
  EtfError,
  INFLATED_BYTES_MAX,
  NEED_MORE,
  skipTerm,
  termToJson,
} from '../../src/etf/index.ts'

describe('decodeTerm', () => {
  test('keeps __proto__ as a property and the prototype as it was', () => {
    const bytes = encodeTerm(new Map([['__proto__', { polluted: true }]]))
    const value = decodeTerm(bytes) as Record<string, unknown>
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect(value.polluted).toBeUndefined()
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('makes integers numbers as long as a double holds them, then bigint or text', () => {
    const edge = 2n ** 53n
    const list = [edge - 1n, 1n - edge, edge, -edge, 2n ** 64n, -(2n ** 64n), 0n]
    const bytes = encodeTerm(list)
    expect(decodeTerm(bytes)).toEqual([
      2 ** 53 - 1,
      1 - 2 ** 53,
      edge,
      -edge,
      2n ** 64n,
      -(2n ** 64n),
      0,
    ])
    expect(decodeTerm(bytes, { bigints: 'string' })).toEqual([
      2 ** 53 - 1,
      1 - 2 ** 53,
      '9007199254740992',
      '-9007199254740992',
      '18446744073709551616',
      '-18446744073709551616',
      0,
    ])
  })

  test('reads a big of more digits than it needs', () => {
    expect(decodeTerm(Buffer.from([131, 110, 10, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]))).toBe(5)
    expect(decodeTerm(Buffer.from([131, 110, 0, 1]))).toBe(0)
  })

  test('reads atoms as literals and text, or as Atom', () => {
    const names = ['nil', 'null', 'true', 'false', 'online', 'undefined', 'é', '😀']
    const bytes = encodeTerm(names.map((name) => new Atom(name)))
    const literals = [null, null, true, false]
    expect(decodeTerm(bytes)).toEqual([...literals, ...names.slice(4)])
    expect(decodeTerm(bytes, { atoms: 'atom' })).toEqual([
      ...literals,
      ...names.slice(4).map((name) => new Atom(name)),
    ])
  })

  test('copies binaries as bytes when asked to', () => {
    const bytes = Buffer.from(encodeTerm({ x: Buffer.from([0xff, 0]) }))
    const value = decodeTerm(bytes, { binaries: 'bytes' }) as { x: Uint8Array }
    bytes.fill(7)
    expect([...value.x]).toEqual([0xff, 0])
    expect(value.x.buffer.byteLength).toBe(2)
  })

  test('reads from any Uint8Array, at any offset of its memory', () => {
    const term = encodeTerm({ id: 175928847299117063n, x: ['é'] })
    const memory = new Uint8Array(term.length + 20)
    memory.set(term, 13)
    const view = new Uint8Array(memory.buffer, 13, term.length)
    expect(decodeTerm(view)).toEqual({ id: 175928847299117063n, x: ['é'] })
    expect(decodeTermAt(memory, 14, 13 + term.length)).toEqual(decodeTerm(view))
  })

  test.each([
    ['an improper list', [108, 0, 0, 0, 1, 97, 1, 97, 2], [1, 2]],
    ['a tail that is a list', [108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 106], [1, 2]],
    ['a tail that is a string', [108, 0, 0, 0, 1, 97, 1, 107, 0, 2, 2, 3], [1, 2, 3]],
    ['a tail that is an empty string', [108, 0, 0, 0, 1, 97, 1, 107, 0, 0], [1]],
    ['a tail that is a tuple', [108, 0, 0, 0, 1, 97, 1, 104, 1, 97, 2], [1, [2]]],
    ['a tail behind no elements', [108, 0, 0, 0, 0, 104, 1, 97, 2], [2]],
    [
      'an improper tail behind a tail',
      [108, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 1, 97, 2, 97, 3],
      [1, 2, 3],
    ],
    ['no elements in a map', [116, 0, 0, 0, 1, 97, 1, 108, 0, 0, 0, 0, 97, 2], { '1': 2 }],
  ])('reads %s, and so does termToJson', (_name, term, value) => {
    const bytes = Buffer.from([131, ...term])
    const out = new ByteBuffer()
    termToJson(bytes, 1, bytes.length, out)
    expect(decodeTerm(bytes)).toEqual(value)
    expect(String(out)).toBe(JSON.stringify(value))
    expect(skipTerm(bytes, 1, bytes.length)).toBe(bytes.length)
  })

  test('names tag and offset of what is wrong', () => {
    const error = thrownBy(() => decodeTerm(Buffer.from([131, 104, 2, 97, 1, 200])))
    expect(error.code).toBe('ETF_UNKNOWN_TAG')
    expect(error.details).toEqual({ tag: 200, offset: 5 })
    expect(error.message).toBe(
      '[ETF_UNKNOWN_TAG] At offset 5 byte 200 is no tag of the External Term Format; close the connection and resume.',
    )
  })

  test.each([
    [121, 'LOCAL_EXT'],
    [82, 'ATOM_CACHE_REF'],
    [68, 'distribution header'],
    [69, 'distribution header'],
    [80, 'compressed term'],
  ])('refuses tag %i inside of a term by its name', (tag, name) => {
    const error = thrownBy(() => decodeTerm(Buffer.from([131, 104, 1, tag, 0, 0, 0, 1])))
    expect(error.code).toBe('ETF_UNKNOWN_TAG')
    expect(error.message).toContain(name)
  })
})

describe('what claims to be large', () => {
  const claims: [string, number[]][] = [
    ['a map of 2^32-1 pairs', [116, 255, 255, 255, 255]],
    ['a list of 2^32-1 elements', [108, 255, 255, 255, 255]],
    ['a tuple of 2^32-1 elements', [105, 255, 255, 255, 255]],
    ['a binary of 4 GiB', [109, 255, 255, 255, 255]],
    ['a big of 4 GiB', [111, 255, 255, 255, 255, 0]],
    ['a bit string of 4 GiB', [77, 255, 255, 255, 255, 8]],
    ['a fun of 4 GiB', [112, 255, 255, 255, 255]],
  ]

  test.each(claims)('%s costs nothing', (_name, head) => {
    const bytes = Buffer.from([131, ...head, 106, 106, 106])
    const before = process.memoryUsage().rss
    const started = performance.now()
    expect(skipTerm(bytes, 1, bytes.length)).toBe(NEED_MORE)
    expect(thrownBy(() => decodeTerm(bytes)).code).toBe('ETF_TRUNCATED')
    const out = new ByteBuffer()
    expect(thrownBy(() => termToJson(bytes, 1, bytes.length, out)).code).toBe('ETF_TRUNCATED')
    expect(performance.now() - started).toBeLessThan(100)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20)
  })

  test('a compressed term of 4 GiB is refused before it is inflated', () => {
    const error = thrownBy(() => decodeTerm(Buffer.from([131, 80, 255, 255, 255, 255, 120, 156])))
    expect(error.code).toBe('ETF_LIMIT')
    expect(error.details.bytesMax).toBe(INFLATED_BYTES_MAX)
  })

  test('an integer of more than 16 KiB is refused', () => {
    const bytes = Buffer.alloc(7 + 16_385, 1)
    bytes.set([131, 111, 0, 0, 0x40, 0x01, 0])
    expect(thrownBy(() => decodeTerm(bytes)).code).toBe('ETF_LIMIT')
    expect(skipTerm(bytes, 1, bytes.length)).toBe(bytes.length)
  })
})

describe('nesting', () => {
  const million = 1_000_000
  const nests: [string, number[], number[]][] = [
    ['tuples', [104, 1], []],
    ['lists', [108, 0, 0, 0, 1], [106]],
    ['tails', [108, 0, 0, 0, 1, 106], []],
    ['maps', [116, 0, 0, 0, 1, 97, 1], []],
    ['keys of maps', [116, 0, 0, 0, 1], [97, 1]],
  ]

  test.each(nests)('%s a million deep fail at once', (_name, head, tail) => {
    const bytes = nest(head, tail, million)
    const out = new ByteBuffer()
    const reads: [string, () => unknown][] = [
      ['skipTerm', () => skipTerm(bytes, 1, bytes.length)],
      ['decodeTerm', () => decodeTerm(bytes)],
      ['termToJson', () => termToJson(bytes, 1, bytes.length, out)],
    ]
    for (const [name, read] of reads) {
      const started = performance.now()
      expect(thrownBy(read).code, name).toBe('ETF_TOO_DEEP')
      expect(performance.now() - started, name).toBeLessThan(100)
    }
    expect(out.length).toBe(0)
  })

  test.each(nests)('%s are read down to the limit and not below', (_name, head, tail) => {
    const deepest = nest(head, tail, DEPTH_MAX)
    const out = new ByteBuffer()
    expect(skipTerm(deepest, 1, deepest.length)).toBe(deepest.length)
    termToJson(deepest, 1, deepest.length, out)
    decodeTerm(deepest)
    const deeper = nest(head, tail, DEPTH_MAX + 1)
    expect(thrownBy(() => skipTerm(deeper, 1, deeper.length)).code).toBe('ETF_TOO_DEEP')
    expect(thrownBy(() => decodeTerm(deeper)).code).toBe('ETF_TOO_DEEP')
  })

  test('a value that contains itself is refused', () => {
    const value: Record<string, unknown> = {}
    value.self = { value }
    expect(thrownBy(() => encodeTerm(value)).code).toBe('ETF_TOO_DEEP')
  })

  test('the limit is above anything that Discord nests', () => {
    expect(DEPTH_MAX).toBeGreaterThanOrEqual(1024)
  })
})

function nest(head: readonly number[], tail: readonly number[], levels: number): Buffer {
  const heads = Buffer.alloc(head.length * levels, Buffer.from(head))
  const tails = Buffer.alloc(tail.length * levels, Buffer.from(tail.length > 0 ? tail : [0]))
  return Buffer.concat([Buffer.from([131]), heads, Buffer.from([106]), tails])
}

function thrownBy(read: () => unknown): EtfError {
  try {
    read()
  } catch (error) {
    if (error instanceof EtfError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
