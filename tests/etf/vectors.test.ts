import { deepStrictEqual } from 'node:assert'
import { describe, expect, test } from 'vitest'
import { ByteBuffer, decodeTerm, EtfError, skipTerm, termToJson } from '../../src/etf/index.ts'
import { discordJson } from './support/discord-json.ts'
import { accepted, promised, refused, repeatedKeys, vectors } from './support/vectors.ts'
import type { Vector } from './support/vectors.ts'

const FUN = 'new_fun_local_closure'

describe("a real Erlang's terms", () => {
  test('all of the vectors are looked at', () => {
    expect(vectors.length).toBe(409)
    expect(accepted.length + refused.length + repeatedKeys.length).toBe(vectors.length)
  })

  test.each(categories(accepted))('decodeTerm reads %s', (_, rows) => {
    for (const { name, bytes, expected } of rows) {
      if (name === FUN) continue
      deepStrictEqual(decodeTerm(bytes), promised(expected), name)
    }
  })

  test('decodeTerm reads a fun as text', () => {
    const fun = vectors.find((vector) => vector.name === FUN)!
    expect(decodeTerm(fun.bytes)).toBe('#Fun<etfgen.1.87a2c62a>')
  })

  test.each(categories(refused))('decodeTerm and termToJson refuse %s', (_, rows) => {
    const out = new ByteBuffer()
    for (const { name, bytes } of rows) {
      expect(() => decodeTerm(bytes), name).toThrow(EtfError)
      if (bytes[0] !== 131) continue
      expect(() => termToJson(bytes, 1, bytes.length, out), name).toThrow(EtfError)
    }
  })

  test('the last of equal keys counts', () => {
    expect(repeatedKeys.map(({ bytes }) => decodeTerm(bytes))).toEqual([
      { '1': 2 },
      { a: 2 },
      { a: 2 },
    ])
  })

  test('skipTerm ends where the term does', () => {
    for (const { name, bytes } of accepted) {
      expect(skipTerm(bytes, 1, bytes.length), name).toBe(bytes.length)
      // What stands behind the term does not matter.
      const padded = Buffer.concat([bytes, Buffer.from([97, 1, 131])])
      expect(skipTerm(padded, 1, padded.length), name).toBe(bytes.length)
    }
  })

  test('termToJson says what JSON.stringify says of the decoded value', () => {
    const out = new ByteBuffer()
    for (const { name, bytes } of accepted) {
      out.clear()
      termToJson(bytes, 1, bytes.length, out)
      deepStrictEqual(JSON.parse(String(out)), JSON.parse(discordJson(decodeTerm(bytes))), name)
    }
  })
})

function categories(rows: readonly Vector[]): [string, Vector[]][] {
  return Object.entries(Object.groupBy(rows, (vector) => vector.category)) as [string, Vector[]][]
}
