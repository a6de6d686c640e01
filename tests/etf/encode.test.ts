import { describe, expect, test } from 'vitest'
import {
  Atom,
  ByteBuffer,
  decodeTerm,
  encodeTerm,
  EtfError,
  writeTerm,
} from '../../src/etf/index.ts'
import { vectors } from './support/vectors.ts'

describe('encodeTerm writes', () => {
  test.each([
    ['nil as ATOM_EXT', null, {}, '836400036e696c'],
    ['nil as SMALL_ATOM_EXT', null, { atoms: 115 }, '8373036e696c'],
    ['true', true, { atoms: 115 }, '83730474727565'],
    ['false as SMALL_ATOM_UTF8_EXT', false, { atoms: 119 }, '83770566616c7365'],
    ['0', 0, {}, '836100'],
    ['minus zero as 0', -0, {}, '836100'],
    ['255', 255, {}, '8361ff'],
    ['256', 256, {}, '836200000100'],
    ['-1', -1, {}, '8362ffffffff'],
    ['2^31-1', 2 ** 31 - 1, {}, '83627fffffff'],
    ['-2^31', -(2 ** 31), {}, '836280000000'],
    ['2^31', 2 ** 31, {}, '836e040000000080'],
    ['a time in ms', 1754500261123, {}, '836e060003655d809801'],
    ['0.5', 0.5, {}, '83463fe0000000000000'],
    ['1e300', 1e300, {}, '83467e37e43c8800759c'],
    ['a snowflake', 175928847299117063n, {}, '836e0800070002c15a067102'],
    ['a negative bigint', -175928847299117063n, {}, '836e0801070002c15a067102'],
    ['a small bigint', 5n, {}, '836e010005'],
    ['text', 'é', {}, '836d00000002c3a9'],
    ['bytes', new Uint8Array([255]), {}, '836d00000001ff'],
    ['an empty list', [], {}, '836a'],
    ['a list', [1, 'a'], {}, '836c0000000261016d00000001616a'],
    ['a list of bytes', [0, 16], {}, '836c00000002610061106a'],
    ['a list of bytes as STRING_EXT', [0, 16], { strings: true }, '836b00020010'],
    ['a list with a larger number', [0, 256], { strings: true }, '836c00000002610062000001006a'],
    ['undefined in a list', [undefined], {}, '836c000000016400036e696c6a'],
    ['no undefined properties', { a: undefined, b: 1 }, {}, '8374000000016d00000001626101'],
    ['atom keys', { op: 1 }, { keys: 'atom' }, '8374000000016400026f706101'],
    ['atom keys as 119', { op: 1 }, { keys: 'atom', atoms: 119 }, '83740000000177026f706101'],
    ['a Map', new Map([[1, 2]]), {}, '83740000000161016102'],
    ['an atom', new Atom('READY'), {}, '836400055245414459'],
    ['an atom beyond ASCII', new Atom('é'), {}, '837702c3a9'],
  ] as const)('%s', (_name, value, options, hex) => {
    expect(Buffer.from(encodeTerm(value, options)).toString('hex')).toBe(hex)
  })

  test('what a client of OTP sends, byte for byte', () => {
    const names = vectors.filter(({ category }) => category === 'discord_shaped_send')
    for (const { name, bytes } of names) {
      const value = decodeTerm(bytes)
      expect(encodeTerm(value, { strings: true }).length, name).toBe(bytes.length)
      expect(decodeTerm(encodeTerm(value, { strings: true })), name).toEqual(value)
    }
    const heartbeat = names.find(({ name }) => name === 'client_heartbeat_seq')!
    expect(Buffer.from(encodeTerm({ d: 251, op: 1 }))).toEqual(heartbeat.bytes)
  })

  test('holes of a list as nil', () => {
    const sparse = new Array<number>(3)
    sparse[1] = 5
    expect(decodeTerm(encodeTerm(sparse, { strings: true }))).toEqual([null, 5, null])
  })

  test('a lone surrogate as U+FFFD', () => {
    expect(decodeTerm(encodeTerm('a\ud800b'))).toBe('a\ufffdb')
  })

  test('lists of 65,535 bytes as STRING_EXT and longer ones as LIST_EXT', () => {
    const longest = new Array<number>(65_535).fill(7)
    expect(encodeTerm(longest, { strings: true })[1]).toBe(107)
    expect(encodeTerm([...longest, 7], { strings: true })[1]).toBe(108)
    expect(decodeTerm(encodeTerm([...longest, 7], { strings: true }))).toHaveLength(65_536)
  })

  test('an integer of more than 255 bytes as LARGE_BIG_EXT', () => {
    const value = 2n ** 2048n + 12345n
    const bytes = encodeTerm(value)
    expect([...bytes.subarray(0, 7)]).toEqual([131, 111, 0, 0, 1, 1, 0])
    expect(decodeTerm(bytes)).toBe(value)
  })

  test('terms one behind the other into a buffer', () => {
    const out = new ByteBuffer(1)
    writeTerm(out, [1])
    writeTerm(out, 'x'.repeat(5000), { atoms: 115 })
    expect(out.length).toBe(8 + 5005)
    expect(out.copy()).toEqual(out.view())
  })
})

test('atoms of one name keep their tags apart', () => {
  const name = new Atom('115 nil')
  const hex = (atoms: 100 | 115 | 119): string =>
    Buffer.from(encodeTerm([name, null], { atoms })).toString('hex')
  for (let round = 0; round < 2; round++) {
    expect(hex(115)).toBe('836c000000027307313135206e696c73036e696c6a')
    expect(hex(100)).toBe('836c00000002640007313135206e696c6400036e696c6a')
    expect(hex(119)).toBe('836c000000027707313135206e696c77036e696c6a')
  }
})

describe('encodeTerm refuses', () => {
  test.each([
    ['NaN', Number.NaN, 'ETF_BAD_VALUE'],
    ['infinity', [Number.POSITIVE_INFINITY], 'ETF_BAD_VALUE'],
    ['a function', { f: () => 1 }, 'ETF_BAD_VALUE'],
    ['a symbol', Symbol('x'), 'ETF_BAD_VALUE'],
    ['an atom of 256 characters', new Atom('a'.repeat(256)), 'ETF_LIMIT'],
    ['a key of 256 characters as atom', { ['k'.repeat(256)]: 1 }, 'ETF_LIMIT'],
    ['an integer of more than 16 KiB', 1n << 140_000n, 'ETF_LIMIT'],
  ])('%s', (_name, value, code) => {
    expect(() => encodeTerm(value, { keys: 'atom' })).toThrow(EtfError)
    expect(() => encodeTerm(value, { keys: 'atom' })).toThrow(`[${code}]`)
  })

  test('one value and takes the next', () => {
    expect(() => encodeTerm(Number.NaN)).toThrow(EtfError)
    expect(decodeTerm(encodeTerm({ ok: true }))).toEqual({ ok: true })
  })

  test('nothing when a getter encodes in the middle of an encoding', () => {
    const value = {
      get inner(): Uint8Array {
        return encodeTerm('inner')
      },
      after: 1,
    }
    expect(decodeTerm(encodeTerm(value), { binaries: 'bytes' })).toEqual({
      inner: new Uint8Array(encodeTerm('inner')),
      after: 1,
    })
  })
})
