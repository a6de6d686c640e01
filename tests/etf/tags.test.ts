import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** @see https://www.erlang.org/doc/apps/erts/erl_ext_dist */
const TAGS: Record<string, number> = {
  VERSION: 131,
  COMPRESSED: 80,
  NEW_FLOAT_EXT: 70,
  BIT_BINARY_EXT: 77,
  NEW_PID_EXT: 88,
  NEW_PORT_EXT: 89,
  NEWER_REFERENCE_EXT: 90,
  SMALL_INTEGER_EXT: 97,
  INTEGER_EXT: 98,
  FLOAT_EXT: 99,
  ATOM_EXT: 100,
  REFERENCE_EXT: 101,
  PORT_EXT: 102,
  PID_EXT: 103,
  SMALL_TUPLE_EXT: 104,
  LARGE_TUPLE_EXT: 105,
  NIL_EXT: 106,
  STRING_EXT: 107,
  LIST_EXT: 108,
  BINARY_EXT: 109,
  SMALL_BIG_EXT: 110,
  LARGE_BIG_EXT: 111,
  NEW_FUN_EXT: 112,
  EXPORT_EXT: 113,
  NEW_REFERENCE_EXT: 114,
  SMALL_ATOM_EXT: 115,
  MAP_EXT: 116,
  ATOM_UTF8_EXT: 118,
  SMALL_ATOM_UTF8_EXT: 119,
  V4_PORT_EXT: 120,
}

// A switch over imported constants is twice as slow, so each file has its own; this test holds them together.
test('every file of the codec gives the tags their values', () => {
  const folder = new URL('../../src/etf/', import.meta.url)
  const seen = new Set<string>()
  for (const file of readdirSync(folder)) {
    const source = readFileSync(new URL(file, folder), 'utf8')
    for (const match of source.matchAll(/^const ([A-Z0-9_]+_EXT|VERSION|COMPRESSED) = (\d+)$/gm)) {
      const [, name = '', value] = match
      expect(TAGS[name], `${name} in ${file}`).toBe(Number(value))
      seen.add(name)
    }
  }
  expect([...seen].toSorted()).toEqual(Object.keys(TAGS).toSorted())
})
