import { describe, expect, test } from 'vitest'
import { Atom, ByteBuffer, decodeTerm, encodeTerm, termToJson } from '../../src/etf/index.ts'
import type { EncodeOptions, JsonOptions } from '../../src/etf/index.ts'

function json(value: unknown, options: JsonOptions = {}, encode: EncodeOptions = {}): string {
  const bytes = encodeTerm(value, encode)
  const out = new ByteBuffer(16)
  termToJson(bytes, 1, bytes.length, out, options)
  return out.toString()
}

describe('termToJson', () => {
  test.each([
    [
      'safe integers as numbers',
      [0, -1, 255, 2 ** 31, -(2 ** 40), 2 ** 53 - 1, 1 - 2 ** 53],
      '[0,-1,255,2147483648,-1099511627776,9007199254740991,-9007199254740991]',
    ],
    [
      'larger integers as strings',
      [2n ** 53n, -(2n ** 53n), 2n ** 64n - 1n, 2n ** 64n, -(2n ** 200n)],
      '["9007199254740992","-9007199254740992","18446744073709551615","18446744073709551616","-1606938044258990275541962092341162602522202993782792835301376"]',
    ],
    [
      'ids of 2^32 and more as strings',
      { id: 2 ** 32, guild_id: 2 ** 32 + 1, x: 2 ** 32 },
      '{"id":"4294967296","guild_id":"4294967297","x":4294967296}',
    ],
    [
      'small ids as numbers',
      { id: 2 ** 32 - 1, sound_id: 5, _id: 2 ** 40 },
      '{"id":4294967295,"sound_id":5,"_id":"1099511627776"}',
    ],
    [
      'keys that only look like ids',
      { grid: 2 ** 40, ids: 2 ** 40, Id: 2 ** 40 },
      '{"grid":1099511627776,"ids":1099511627776,"Id":1099511627776}',
    ],
    [
      'numbers in lists under an id key',
      { id: [2 ** 40, { id: 2 ** 40 }, 2 ** 40] },
      '{"id":[1099511627776,{"id":"1099511627776"},1099511627776]}',
    ],
    [
      'floats',
      [0.5, -1e-7, 1e22, 1.7976931348623157e308, 5e-324],
      '[0.5,-1e-7,1e+22,1.7976931348623157e+308,5e-324]',
    ],
    [
      'atoms',
      [null, true, false, new Atom('online'), new Atom('null')],
      '[null,true,false,"online",null]',
    ],
    ['empty containers', [[], {}, ''], '[[],{},""]'],
    [
      'text',
      'é😀"\\\b\f\n\r\t\u0001\u007f\u2028/',
      '"é😀\\"\\\\\\b\\f\\n\\r\\t\\u0001\u007f\u2028/"',
    ],
    ['nested containers', { a: [{ b: [[]] }], c: {} }, '{"a":[{"b":[[]]}],"c":{}}'],
  ])('writes %s', (_name, value, text) => {
    expect(json(value)).toBe(text)
    expect(JSON.parse(text)).toBeDefined()
  })

  test('writes lists of bytes as numbers', () => {
    expect(json({ shard: [0, 16] }, {}, { strings: true })).toBe('{"shard":[0,16]}')
  })

  test('writes an id that came as a float as a string', () => {
    const bytes = encodeTerm({ id: 0.5 })
    bytes.set(encodeTerm(2 ** 53 * 20).subarray(1), bytes.length - 9)
    const out = new ByteBuffer()
    termToJson(bytes, 1, bytes.length, out)
    expect(out.toString()).toBe('{"id":"180143985094819840"}')
  })

  test('keeps NUL as an escape, or drops it for jsonb', () => {
    const value = { 'k\0': 'a\0b', x: new Atom('\0') }
    expect(json(value)).toBe('{"k\\u0000":"a\\u0000b","x":"\\u0000"}')
    expect(json(value, { nul: 'drop' })).toBe('{"k":"ab","x":""}')
  })

  test.each([
    ['a lone continuation', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a cut sequence of four', [0xf0, 0x9f, 0x98]],
    ['a cut sequence before text', [0xe2, 0x82, 0x41]],
    ['above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['FE and FF', [0xfe, 0xff]],
    ['an overlong of three', [0xe0, 0x80, 0x80]],
    ['an overlong of four', [0xf0, 0x80, 0x80, 0x80]],
  ])('writes U+FFFD for %s as a decoder does', (_name, bad) => {
    const bytes = Buffer.from([0x61, ...bad, 0x62])
    const text = new TextDecoder().decode(bytes)
    expect(text).toContain('\ufffd')
    expect(JSON.parse(json(bytes))).toBe(text)
    expect(decodeTerm(encodeTerm(bytes))).toBe(text)
  })

  test('writes long texts, whatever stands at the borders of their pieces', () => {
    for (const filler of ['x', 'é', '😀', '\n', '\u0001']) {
      for (let shift = 0; shift < 5; shift++) {
        const text = 'y'.repeat(4094 + shift) + filler.repeat(9000)
        expect(JSON.parse(json(text))).toBe(text)
      }
    }
  })

  test('writes keys that are no text as strings', () => {
    const value = new Map<unknown, unknown>([
      [null, 1],
      [true, 2],
      [5, 3],
      [-5n, 4],
      [175928847299117063n, 5],
      [1.5, 6],
      [[], 7],
      [[1], 8],
      [new Atom('"é'), 9],
    ])
    const text =
      '{"nil":1,"true":2,"5":3,"-5":4,"175928847299117063":5,"1.5":6,"[]":7,"etf:bAAAAAFhAWo=":8,"\\"é":9}'
    expect(json(value)).toBe(text)
    const bytes = encodeTerm(value)
    expect(JSON.parse(text)).toEqual(decodeTerm(bytes))
  })

  test('appends, and takes back what an error left', () => {
    const out = new ByteBuffer()
    const good = encodeTerm([1])
    termToJson(good, 1, good.length, out)
    const bad = Buffer.concat([
      Buffer.from([131, 104, 2]),
      encodeTerm('x'.repeat(9000)).subarray(1),
      Buffer.from([200]),
    ])
    expect(() => termToJson(bad, 1, bad.length, out)).toThrow('ETF_UNKNOWN_TAG')
    termToJson(good, 1, good.length, out)
    expect(out.toString()).toBe('[1][1]')
  })
})
