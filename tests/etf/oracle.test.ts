import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeTerm, encodeTerm } from '../../src/etf/index.ts'
import { loadErlpack } from '../support/oracle.ts'
import { accepted } from './support/vectors.ts'

/**
 * erlpack, the codec that Discord published, as oracle where it is right. Where it is not: it throws on atoms of
 * tag 118 and 119, on improper lists, and on integers of more than 8 bytes; it gives every integer of 5 to 8
 * bytes as text; it makes no difference between NIL and the other empty lists that could be one.
 */
const erlpack = loadErlpack()
const RUNS = { numRuns: 300, interruptAfterTimeLimit: 4_000 }

const scalar = fc.oneof(
  fc.constantFrom(null, true, false),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true, noInteger: true }),
  fc.string({ unit: 'binary', maxLength: 30 }),
)
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    scalar,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.dictionary(fc.string({ maxLength: 8 }).filter(isPlainKey), tie('value'), {
      maxKeys: 6,
      noNullPrototype: true,
    }),
  ),
}))

describe('against erlpack', () => {
  test('we decode what it packs', () => {
    fc.assert(
      fc.property(value, (original) => {
        deepStrictEqual(decodeTerm(erlpack.pack(original)), original)
      }),
      RUNS,
    )
  })

  test('it unpacks what we encode, with each tag that it knows', () => {
    fc.assert(
      fc.property(value, fc.constantFrom(100, 115), fc.boolean(), (original, atoms, strings) => {
        const bytes = Buffer.from(encodeTerm(original, { atoms, strings }))
        deepStrictEqual(erlpack.unpack(bytes), original)
      }),
      RUNS,
    )
  })

  test("both read Erlang's Discord-shaped payloads alike", () => {
    let compared = 0
    for (const { name, category, bytes } of accepted) {
      if (!category.startsWith('discord_shaped') || name.includes('utf8atoms')) continue
      deepStrictEqual(asErlpack(decodeTerm(bytes)), erlpack.unpack(bytes), name)
      compared++
    }
    expect(compared).toBeGreaterThan(10)
  })
})

/** erlpack gives integers of 5 to 8 bytes as decimal text, milliseconds as well as ids. */
function asErlpack(ours: unknown): unknown {
  if (typeof ours === 'bigint') return String(ours)
  if (typeof ours === 'number' && Number.isInteger(ours) && Math.abs(ours) >= 2 ** 32) {
    return String(ours)
  }
  if (Array.isArray(ours)) return ours.map(asErlpack)
  if (typeof ours !== 'object' || ours === null) return ours
  return Object.fromEntries(Object.entries(ours).map(([key, inner]) => [key, asErlpack(inner)]))
}

/** As property of an object, `__proto__` sets erlpack's prototype. */
function isPlainKey(key: string): boolean {
  return key !== '__proto__'
}
