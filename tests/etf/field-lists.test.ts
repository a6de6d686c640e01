import { deepStrictEqual } from 'node:assert'
import { describe, expect, test } from 'vitest'
import {
  Atom,
  decodeTermAt,
  encodeTerm,
  FieldReader,
  NEED_MORE,
  snowflakeAt,
  writeSnowflake,
} from '../../src/etf/index.ts'

const IDS = [1n << 60n, 80_351_110_224_678_912n, 7n]
const payload = encodeTerm(
  { id: IDS[1], roles: IDS, member: { roles: [IDS[2]], nick: null }, tags: [], shard: [0, 16] },
  { keys: 'atom', strings: true },
)

describe('paths that end with []', () => {
  test('give the range of each element in the same pass as other fields', () => {
    const reader = new FieldReader(['id', 'roles[]', 'roles', 'member.roles[]', 'member.nick'])
    expect(reader.read(payload, 1, payload.length)).toBe(payload.length)
    expect(snowflakeAt(payload, reader.starts[0]!, reader.ends[0]!)).toBe(IDS[1])
    deepStrictEqual(ids(reader, 1), IDS)
    deepStrictEqual(ids(reader, 3), [IDS[2]])
    expect(reader.lists[0]).toBeNull()
    expect([reader.starts[1], reader.ends[1]]).toEqual([reader.starts[2], reader.ends[2]])
    deepStrictEqual(decodeTermAt(payload, reader.starts[1]!, reader.ends[1]!), [IDS[0], IDS[1], 7])
  })

  test('an empty, an absent and no list have no elements', () => {
    const reader = new FieldReader(['tags[]', 'absent[]', 'id[]'])
    expect(reader.read(payload, 1, payload.length)).toBe(payload.length)
    deepStrictEqual([ids(reader, 0), ids(reader, 1), ids(reader, 2)], [[], [], []])
    expect([reader.starts[0]! > 0, reader.starts[1], reader.starts[2]! > 0]).toEqual([
      true,
      -1,
      true,
    ])
  })

  test('elements of a STRING_EXT are terms of a table', () => {
    const reader = new FieldReader(['shard[]'])
    reader.read(payload, 1, payload.length)
    deepStrictEqual(ids(reader, 0), [0n, 16n])
  })

  test('a list longer than any before, and a shorter one behind it', () => {
    const reader = new FieldReader(['roles[]'])
    const many = Array.from({ length: 1000 }, (_, index) => BigInt(index) << 32n)
    for (const roles of [many, [], IDS]) {
      const bytes = encodeTerm({ roles })
      expect(reader.read(bytes, 1, bytes.length)).toBe(bytes.length)
      deepStrictEqual(ids(reader, 0), roles)
    }
  })

  test('a list that continues as its tail is one list; any other tail is no element', () => {
    const reader = new FieldReader(['a[]'])
    // #{a => [1 | [2 | 3]]}, written as Erlang reads it.
    const bytes = Buffer.from(
      '7400000001770161' + '6c000000016101' + '6c000000016102' + '6103',
      'hex',
    )
    expect(reader.read(bytes, 0, bytes.length)).toBe(bytes.length)
    deepStrictEqual(ids(reader, 0), [1n, 2n])
  })

  test('a map repeated under its key replaces the elements of the first', () => {
    const reader = new FieldReader(['m.roles[]'])
    const [full, none] = [{ roles: IDS }, {}].map((m) => encodeTerm(m).subarray(1))
    const key = encodeTerm(new Atom('m')).subarray(1)
    const bytes = Buffer.concat([Buffer.from([116, 0, 0, 0, 2]), key, full!, key, none!])
    expect(reader.read(bytes, 0, bytes.length)).toBe(bytes.length)
    deepStrictEqual(ids(reader, 0), [])
    expect(reader.starts[0]).toBe(-1)
  })

  test('every prefix is NEED_MORE', () => {
    const reader = new FieldReader(['id', 'roles[]', 'member.roles[]', 'shard[]'])
    for (let end = 1; end < payload.length; end++) {
      expect(reader.read(payload, 1, end), `cut at ${end}`).toBe(NEED_MORE)
    }
  })

  test('a claim of 2^32 elements costs nothing', () => {
    const reader = new FieldReader(['a[]'])
    const bytes = Uint8Array.from([116, 0, 0, 0, 1, 119, 1, 97, 108, 255, 255, 255, 255, 97, 1])
    expect(reader.read(bytes, 0, bytes.length)).toBe(NEED_MORE)
  })

  test('[] in the middle of a path is an error of the program', () => {
    expect(() => new FieldReader(['mentions[].id'])).toThrow(/end of a path/)
  })

  test('ids from integers and from texts become bigint, decimal text or 8 bytes', () => {
    const out = new Uint8Array(8)
    for (const roles of [IDS, IDS.map(String)]) {
      const bytes = encodeTerm({ roles })
      const reader = new FieldReader(['roles[]'])
      reader.read(bytes, 1, bytes.length)
      const list = reader.lists[0]!
      for (const [index, id] of IDS.entries()) {
        const [start, end] = [list.starts[index]!, list.ends[index]!]
        expect(String(snowflakeAt(bytes, start, end))).toBe(String(id))
        expect(writeSnowflake(bytes, start, end, out, 0)).toBe(true)
        expect(Buffer.from(out).readBigInt64BE()).toBe(id)
      }
    }
  })
})

function ids(reader: FieldReader, path: number): (bigint | null)[] {
  const { bytes, starts, ends, length } = reader.lists[path]!
  return Array.from({ length }, (_, index) => snowflakeAt(bytes, starts[index]!, ends[index]!))
}
