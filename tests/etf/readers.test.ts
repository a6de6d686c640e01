import { describe, expect, test } from 'vitest'
import {
  Atom,
  decodeTermAt,
  DEPTH_MAX,
  encodeTerm,
  EtfError,
  FieldReader,
  integerAt,
  isFalse,
  isNil,
  isTrue,
  ListReader,
  MapReader,
  NameTable,
  NEED_MORE,
  snowflakeAt,
  snowflakeTextAt,
  textAt,
  writeSnowflake,
} from '../../src/etf/index.ts'
import type { EncodeOptions } from '../../src/etf/index.ts'

type Read<T> = (bytes: Uint8Array, start: number, end: number) => T

/** The answer of a scalar reader for a value, in the middle of other bytes. */
function ask<T>(read: Read<T>, value: unknown, options: EncodeOptions = {}): T {
  const term = encodeTerm(value, options)
  const bytes = Buffer.concat([Buffer.alloc(3, 110), term, Buffer.alloc(9, 110)])
  return read(bytes, 4, 3 + term.length)
}

describe('snowflakeAt and writeSnowflake', () => {
  const ids = [
    0n,
    1n,
    255n,
    256n,
    2n ** 31n,
    2n ** 32n,
    2n ** 53n + 1n,
    175928847299117063n,
    2n ** 63n - 1n,
  ]

  test('read integers and decimal strings alike', () => {
    const out = Buffer.alloc(10, 0xee)
    for (const id of ids) {
      for (const value of [id, String(id), ...(id <= 2n ** 53n ? [Number(id)] : [])]) {
        expect(ask(snowflakeAt, value)).toBe(id)
        expect(ask(snowflakeTextAt, value)).toBe(String(id))
        expect(ask((...range) => writeSnowflake(...range, out, 1), value)).toBe(true)
        expect(out.readBigUInt64BE(1)).toBe(id)
        expect([out[0], out[9]]).toEqual([0xee, 0xee])
      }
    }
  })

  test('know unsigned ids above 2^63, which do not fit into an int8', () => {
    for (const value of [2n ** 64n - 1n, '18446744073709551615']) {
      expect(ask(snowflakeAt, value)).toBe(2n ** 64n - 1n)
      expect(ask(snowflakeTextAt, value)).toBe('18446744073709551615')
      const out = Buffer.alloc(8, 0xee)
      expect(ask((...range) => writeSnowflake(...range, out, 0), value)).toBe(false)
      expect(out).toEqual(Buffer.alloc(8, 0xee))
    }
  })

  test.each([
    ['nil', null],
    ['a boolean', true],
    ['a negative integer', -5],
    ['a negative bigint', -175928847299117063n],
    ['2^64', 2n ** 64n],
    ['2^64 as text', '18446744073709551616'],
    ['21 digits', '100000000000000000000'],
    ['a larger text of 20 digits', '99999999999999999999'],
    ['empty text', ''],
    ['text with a sign', '+5'],
    ['text with a space', ' 5'],
    ['hexadecimal text', '0x10'],
    ['a fraction', 1.5],
    ['a list', [1]],
    ['a map', { id: 1 }],
    ['an atom', new Atom('123')],
  ])('give null for %s', (_name, value) => {
    expect(ask(snowflakeAt, value)).toBeNull()
    expect(ask(snowflakeTextAt, value)).toBeNull()
    expect(ask((...range) => writeSnowflake(...range, Buffer.alloc(8), 0), value)).toBe(false)
  })

  test('write one decimal text for each id, and take digits with zeros in front', () => {
    expect(ask(snowflakeTextAt, '000123')).toBe('123')
    expect(ask(snowflakeTextAt, '00')).toBe('0')
    for (let bits = 0n; bits < 64n; bits++) {
      for (const id of [2n ** bits, 2n ** bits - 1n, 2n ** bits + 10n ** (bits / 4n)]) {
        expect(ask(snowflakeTextAt, id)).toBe(String(id))
      }
    }
  })

  test('give null for a field that is absent', () => {
    expect(snowflakeAt(Buffer.alloc(4), -1, -1)).toBeNull()
    expect(snowflakeTextAt(Buffer.alloc(4), -1, -1)).toBeNull()
    expect(writeSnowflake(Buffer.alloc(4), -1, -1, Buffer.alloc(8), 0)).toBe(false)
  })

  test('write nothing where there is no room', () => {
    const out = Buffer.alloc(8)
    expect(ask((...range) => writeSnowflake(...range, out, 1), 5n)).toBe(false)
    expect(out).toEqual(Buffer.alloc(8))
  })
})

describe('scalars', () => {
  test('integerAt gives safe integers, whatever their tag', () => {
    for (const value of [0, 255, -1, 2 ** 31, -(2 ** 31) - 1, 2 ** 53 - 1, 1 - 2 ** 53]) {
      expect(ask(integerAt, value)).toBe(value)
      expect(ask(integerAt, BigInt(value))).toBe(value)
    }
    for (const value of [null, '5', 1.5, 2n ** 53n, [], true]) {
      expect(ask(integerAt, value)).toBeNull()
    }
    const float = Buffer.alloc(9, 70)
    float.writeDoubleBE(3e9, 1)
    expect(integerAt(float, 0, 9)).toBe(3e9)
    expect(integerAt(float, -1, -1)).toBeNull()
  })

  test('textAt gives text of binaries and atoms', () => {
    expect(ask(textAt, 'é😀')).toBe('é😀')
    expect(ask(textAt, '')).toBe('')
    expect(ask(textAt, Buffer.from([0x61, 0xff]))).toBe('a\ufffd')
    for (const atoms of [100, 115, 119] as const) {
      expect(ask(textAt, new Atom('online'), { atoms })).toBe('online')
      for (const value of [null, true, false]) expect(ask(textAt, value, { atoms })).toBeNull()
    }
    for (const value of [5, [], {}, 5n]) expect(ask(textAt, value)).toBeNull()
    expect(textAt(Buffer.alloc(4), -1, -1)).toBeNull()
  })

  test('isNil, isTrue and isFalse know each atom under each tag', () => {
    for (const atoms of [100, 115, 119] as const) {
      const answers = (value: unknown): boolean[] =>
        [isNil, isTrue, isFalse].map((read) => ask(read, value, { atoms }))
      expect(answers(null)).toEqual([true, false, false])
      expect(answers(new Atom('null'))).toEqual([true, false, false])
      expect(answers(true)).toEqual([false, true, false])
      expect(answers(false)).toEqual([false, false, true])
      for (const value of [new Atom('nul'), new Atom('truex'), new Atom('xfalse'), 'nil', 0, []]) {
        expect(answers(value)).toEqual([false, false, false])
      }
    }
    expect(isNil(Buffer.alloc(4), -1, -1)).toBe(false)
  })
})

describe('FieldReader', () => {
  const value = {
    id: 1,
    user: { name: 'x', id: 2, deep: { id: 3, user: { id: 4 } } },
    guild_id: 175928847299117063n,
    roles: [5, 6],
    nick: null,
    ids: 'no',
  }
  const paths = [
    'id',
    'guild_id',
    'user.id',
    'user.deep.user.id',
    'user',
    'roles',
    'nick',
    'absent',
    'nick.id',
    'user.absent.id',
  ]

  test.each([
    { keys: 'atom', atoms: 100 },
    { keys: 'atom', atoms: 119 },
    { keys: 'binary' },
  ] as const)('finds paths in one pass with keys %o', (options) => {
    const bytes = encodeTerm(value, options)
    const reader = new FieldReader(paths)
    expect(reader.read(bytes, 1, bytes.length)).toBe(bytes.length)
    const found = paths.map((_, index) =>
      reader.starts[index] === -1
        ? undefined
        : decodeTermAt(bytes, reader.starts[index]!, reader.ends[index]!),
    )
    expect(found).toEqual([
      1,
      value.guild_id,
      2,
      4,
      value.user,
      [5, 6],
      null,
      undefined,
      undefined,
      undefined,
    ])
  })

  test('forgets the answers of the map before', () => {
    const reader = new FieldReader(['id', 'user.id'])
    const first = encodeTerm({ id: 1, user: { id: 2 } })
    const second = encodeTerm({ user: null })
    reader.read(first, 1, first.length)
    expect(reader.read(second, 1, second.length)).toBe(second.length)
    expect([...reader.starts]).toEqual([-1, -1])
  })

  test('finds nothing in a term that is no map', () => {
    const reader = new FieldReader(['id'])
    for (const value of [null, [], [{ id: 1 }], 5, 'id', {}]) {
      const bytes = encodeTerm(value)
      expect(reader.read(bytes, 1, bytes.length)).toBe(bytes.length)
      expect(reader.starts[0]).toBe(-1)
    }
  })

  test('takes the last of equal keys, with nothing left of the first', () => {
    const bytes = Buffer.concat([
      Buffer.from([116, 0, 0, 0, 3]),
      encodeTerm('user').subarray(1),
      encodeTerm({ id: 1 }).subarray(1),
      encodeTerm(new Atom('user')).subarray(1),
      encodeTerm({ name: 'x' }).subarray(1),
      encodeTerm('id').subarray(1),
      encodeTerm(7).subarray(1),
    ])
    const reader = new FieldReader(['id', 'user.id', 'user.name'])
    expect(reader.read(bytes, 0, bytes.length)).toBe(bytes.length)
    expect(integerAt(bytes, reader.starts[0]!, reader.ends[0]!)).toBe(7)
    expect(reader.starts[1]).toBe(-1)
    expect(textAt(bytes, reader.starts[2]!, reader.ends[2]!)).toBe('x')
  })

  test('reads keys longer than its table of lengths, and empty ones', () => {
    const long = 'k'.repeat(40)
    const reader = new FieldReader([long, ''])
    const bytes = encodeTerm({ [`${long}x`]: 0, '': 1, [long]: 2 })
    reader.read(bytes, 1, bytes.length)
    expect(integerAt(bytes, reader.starts[0]!, reader.ends[0]!)).toBe(2)
    expect(integerAt(bytes, reader.starts[1]!, reader.ends[1]!)).toBe(1)
  })

  test('costs nothing when a map claims 2^32 pairs', () => {
    const reader = new FieldReader(['id', 'user.id'])
    expect(reader.read(Buffer.from([116, 255, 255, 255, 255, 106]), 0, 6)).toBe(NEED_MORE)
    const inner = Buffer.concat([
      Buffer.from([116, 0, 0, 0, 1]),
      encodeTerm('user').subarray(1),
      Buffer.from([116, 255, 255, 255, 255, 106]),
    ])
    expect(reader.read(inner, 0, inner.length)).toBe(NEED_MORE)
  })

  test('refuses a list of paths with repeats', () => {
    expect(() => new FieldReader(['id', 'id'])).toThrow('differ')
  })
})

describe('ListReader', () => {
  const elements = (value: unknown, options: EncodeOptions = {}): unknown[] => {
    const bytes = encodeTerm(value, options)
    const reader = new ListReader()
    const read: unknown[] = []
    expect(reader.open(bytes, 1, bytes.length)).toBe(true)
    const { length } = reader
    while (reader.next()) read.push(decodeTermAt(reader.bytes, reader.start, reader.end))
    expect(read.length).toBe(length)
    expect(reader.next()).toBe(false)
    return read
  }

  test('gives each element as a range', () => {
    expect(elements([])).toEqual([])
    expect(elements([1, { a: [2] }, 'x'])).toEqual([1, { a: [2] }, 'x'])
  })

  test('gives the bytes of a STRING_EXT as integers', () => {
    const bytes = Array.from({ length: 256 }, (_, value) => value)
    expect(elements(bytes, { strings: true })).toEqual(bytes)
    const reader = new ListReader()
    const term = encodeTerm([7, 255], { strings: true })
    reader.open(term, 1, term.length)
    reader.next()
    expect(integerAt(reader.bytes, reader.start, reader.end)).toBe(7)
    expect(snowflakeAt(reader.bytes, reader.start, reader.end)).toBe(7n)
  })

  test('a list that continues as its tail is one list; any other tail is no element', () => {
    const one = '6c0000000161'
    const rows: readonly (readonly [string, unknown[]])[] = [
      [`${one}01${one}026a`, [1, 2]],
      [`${one}01${one}026103`, [1, 2]],
      [`6c00000000${one}016c000000006c00000000${one}026a`, [1, 2]],
      [`6c000000006a`, []],
      [`${one}016b00010a`, [1]],
    ]
    const reader = new ListReader()
    for (const [hex, expected] of rows) {
      const bytes = Buffer.from(hex, 'hex')
      expect(reader.open(bytes, 0, bytes.length)).toBe(true)
      const read: unknown[] = []
      while (reader.next()) read.push(decodeTermAt(reader.bytes, reader.start, reader.end))
      expect(read, hex).toEqual(expected)
      expect(reader.length, hex).toBe(expected.length)
      expect(reader.next(), hex).toBe(false)
      const whole = decodeTermAt(bytes, 0, bytes.length) as unknown[]
      expect(whole.slice(0, read.length), hex).toEqual(read)
      // A tail that is no element is not walked: cut in front of it.
      const cut = bytes.length - (hex.endsWith('6103') ? 2 : hex.endsWith('6b00010a') ? 4 : 1)
      expect(() => {
        reader.open(bytes, 0, cut)
        while (reader.next());
      }, hex).toThrow('ETF_TRUNCATED')
    }
  })

  test('lists that continue each other are levels', () => {
    const chain = (count: number): Buffer =>
      Buffer.concat([Buffer.alloc(count * 6, Buffer.of(108, 0, 0, 0, 1, 106)), Buffer.of(106)])
    const reader = new ListReader()
    const walk = (bytes: Buffer): number => {
      reader.open(bytes, 0, bytes.length)
      while (reader.next());
      return reader.length
    }
    expect(walk(chain(DEPTH_MAX))).toBe(DEPTH_MAX)
    expect(() => walk(chain(DEPTH_MAX + 1))).toThrow('ETF_TOO_DEEP')
  })

  test('opens nothing but lists', () => {
    const reader = new ListReader()
    for (const value of [null, {}, 'x', 5]) {
      const bytes = encodeTerm(value)
      expect(reader.open(bytes, 1, bytes.length)).toBe(false)
      expect(reader.next()).toBe(false)
    }
    expect(reader.open(Buffer.alloc(4), -1, -1)).toBe(false)
  })

  test('throws ETF_TRUNCATED for a list that claims more than it has', () => {
    const reader = new ListReader()
    expect(() => reader.open(Buffer.from([108, 255, 255, 255, 255, 106]), 0, 6)).toThrow(EtfError)
    expect(() => reader.open(Buffer.from([107, 0, 3, 1, 2]), 0, 5)).toThrow('ETF_TRUNCATED')
    expect(reader.open(Buffer.from([108, 0, 0, 0, 1, 98, 1]), 0, 7)).toBe(true)
    expect(() => reader.next()).toThrow('ETF_TRUNCATED')
  })
})

describe('MapReader', () => {
  test('gives text of keys and ranges of values', () => {
    const bytes = encodeTerm(
      new Map<unknown, unknown>([
        ['a', 1],
        [new Atom('bé'), [2]],
        [3, 'x'],
        ['', null],
      ]),
    )
    const reader = new MapReader()
    expect(reader.open(bytes, 1, bytes.length)).toBe(true)
    expect(reader.length).toBe(4)
    const read: unknown[] = []
    while (reader.next()) {
      const key = Buffer.from(bytes.subarray(reader.keyStart, reader.keyEnd)).toString()
      read.push([reader.isTextKey, key, decodeTermAt(bytes, reader.valueStart, reader.valueEnd)])
    }
    expect(read).toEqual([
      [true, 'a', 1],
      [true, 'bé', [2]],
      [false, '', 'x'],
      [true, '', null],
    ])
  })

  test('opens nothing but maps and throws for cut ones', () => {
    const reader = new MapReader()
    const list = encodeTerm([1])
    expect(reader.open(list, 1, list.length)).toBe(false)
    expect(reader.open(Buffer.from([116, 0, 0, 0, 0]), 0, 5)).toBe(true)
    expect(reader.next()).toBe(false)
    expect(() => reader.open(Buffer.from([116, 255, 255, 255, 255]), 0, 5)).toThrow('ETF_TRUNCATED')
    expect(reader.open(Buffer.from([116, 0, 0, 0, 1, 106, 98, 0]), 0, 8)).toBe(true)
    expect(() => reader.next()).toThrow('ETF_TRUNCATED')
  })
})

describe('NameTable', () => {
  test('gives the same string object for the same bytes', () => {
    const names = ['READY', 'RESUMED', 'MESSAGE_CREATE', 'GUILD_CREATE', 'GUILD_DELETE']
    const table = new NameTable(names)
    for (const name of names) {
      const bytes = Buffer.from(`..${name}..`)
      expect(table.intern(bytes, 2, 2 + name.length)).toBe(name)
    }
    expect(table.intern(Buffer.from('x'), 0, 0)).toBe('')
  })

  test('knows unknown names, as many as there come', () => {
    const table = new NameTable(['READY'])
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 1000; index++) {
        const name = `NEW_EVENT_é_${index}`
        const bytes = Buffer.from(name)
        expect(table.intern(bytes, 0, bytes.length)).toBe(name)
      }
    }
  })
})
