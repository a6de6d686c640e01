import { describe, expect, test } from 'vitest'
import {
  Atom,
  ByteBuffer,
  decodeTermAt,
  editMap,
  encodeTerm,
  EtfError,
  mergeMaps,
} from '../../src/etf/index.ts'
import type { EncodeOptions, MapEdit } from '../../src/etf/index.ts'

const term = (value: unknown, options: EncodeOptions = {}): Uint8Array =>
  encodeTerm(value, options).subarray(1)

describe('editMap', () => {
  const edited = (value: unknown, edit: MapEdit, options: EncodeOptions = {}): unknown => {
    const bytes = encodeTerm(value, options)
    const out = new ByteBuffer(16)
    out.writeByte(7)
    editMap(bytes, 1, bytes.length, edit, out)
    expect(out.bytes[0]).toBe(7)
    return decodeTermAt(out.bytes, 1, out.length)
  }

  test.each([{ keys: 'atom' }, { keys: 'binary' }] as const)(
    'drops and sets with keys %o',
    (options) => {
      const value = { a: 1, b: { a: 2 }, c: [3], d: 4 }
      expect(edited(value, {}, options)).toEqual(value)
      expect(edited(value, { drop: ['a', 'x'] }, options)).toEqual({ b: { a: 2 }, c: [3], d: 4 })
      expect(edited(value, { drop: ['d', 'b', 'a', 'c'] }, options)).toEqual({})
      expect(edited(value, { set: [['b', term('new')]] }, options)).toEqual({ ...value, b: 'new' })
      expect(
        edited(
          value,
          {
            drop: ['a'],
            set: [
              ['e', term(null)],
              ['a', term(9)],
            ],
          },
          options,
        ),
      ).toEqual({
        a: 9,
        b: { a: 2 },
        c: [3],
        d: 4,
        e: null,
      })
    },
  )

  test('keeps keys that are no text', () => {
    const value = new Map<unknown, unknown>([
      [1, 'one'],
      ['', 'empty'],
      [[2], 'list'],
    ])
    expect(edited(value, { drop: ['', '1'] })).toEqual({ '1': 'one', 'etf:bAAAAAFhAmo=': 'list' })
  })

  test('copies what it keeps byte for byte', () => {
    const bytes = encodeTerm({ id: 5n, f: 1.5, t: new Atom('READY'), s: [1, 2] }, { strings: true })
    const out = new ByteBuffer()
    editMap(bytes, 1, bytes.length, { drop: ['none'] }, out)
    expect(out.copy()).toEqual(Buffer.from(bytes.subarray(1)))
  })

  test('refuses what is no map', () => {
    const bytes = encodeTerm([1])
    expect(() => editMap(bytes, 1, bytes.length, {}, new ByteBuffer())).toThrow(EtfError)
  })
})

describe('mergeMaps', () => {
  const merged = (a: Uint8Array, b: Uint8Array): unknown => {
    const out = new ByteBuffer(16)
    mergeMaps(a, 1, a.length, b, 1, b.length, out)
    return decodeTermAt(out.bytes, 0, out.length)
  }

  test("lets b's keys win, whatever their tags", () => {
    const a = encodeTerm({ id: 1, nick: 'x', roles: [1], '': 0 }, { keys: 'atom' })
    const b = encodeTerm({ nick: null, mute: true, '': 1 })
    expect(merged(a, b)).toEqual({ id: 1, nick: null, roles: [1], mute: true, '': 1 })
    expect(merged(b, a)).toEqual({ id: 1, nick: 'x', roles: [1], mute: true, '': 0 })
  })

  test('leaves a map as it is when the other is empty', () => {
    const map = encodeTerm({ a: 1, b: [2] })
    const empty = encodeTerm({})
    expect(merged(map, empty)).toEqual({ a: 1, b: [2] })
    expect(merged(empty, map)).toEqual({ a: 1, b: [2] })
    expect(merged(empty, empty)).toEqual({})
  })

  test('compares keys that are no text by their terms', () => {
    const a = encodeTerm(
      new Map<unknown, unknown>([
        [1, 'a'],
        [[1], 'a'],
        ['1', 'text'],
      ]),
    )
    const b = encodeTerm(new Map<unknown, unknown>([[[1], 'b']]))
    expect(merged(a, b)).toEqual({ '1': 'text', 'etf:bAAAAAFhAWo=': 'b' })
  })

  test('takes time in proportion to the pairs', () => {
    const keys = Array.from({ length: 50_000 }, (_, index) => [`key${index}`, index] as const)
    const map = encodeTerm(new Map(keys))
    const started = performance.now()
    expect(Object.keys(merged(map, map) as object)).toHaveLength(50_000)
    expect(performance.now() - started).toBeLessThan(2000)
  })
})
