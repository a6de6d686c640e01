import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  Atom,
  ByteBuffer,
  decodeTerm,
  editMap,
  encodeTerm,
  Envelope,
  FieldReader,
  mergeMaps,
  scanEnvelope,
  skipTerm,
  snowflakeAt,
  termToJson,
} from '../../src/etf/index.ts'
import type { EncodeOptions } from '../../src/etf/index.ts'
import { discordJson } from './support/discord-json.ts'

const RUNS = { numRuns: 400, interruptAfterTimeLimit: 4_000 }

const text = fc.string({ unit: 'binary', maxLength: 40 })
const key = fc.oneof(
  fc.constantFrom('id', 'guild_id', 'user', 'd', 'op', '__proto__', 'constructor', ''),
  fc.string({ maxLength: 8 }),
)
const integer = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n }),
)
const double = fc.double({ noNaN: true, noDefaultInfinity: true })
const scalar = fc.oneof(fc.constantFrom(null, true, false), integer, double, text)
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 6 }),
    fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 6 }),
    fc.dictionary(key, tie('value'), { maxKeys: 6 }),
  ),
}))
const options: fc.Arbitrary<EncodeOptions> = fc.record({
  atoms: fc.constantFrom(100, 115, 119),
  keys: fc.constantFrom('binary', 'atom'),
  strings: fc.boolean(),
})
const map = fc.dictionary(key, value, { maxKeys: 6 })

describe('for any value', () => {
  test('what was encoded decodes to the same', () => {
    fc.assert(
      fc.property(value, options, (original, encoding) => {
        deepStrictEqual(decodeTerm(encodeTerm(original, encoding)), normal(original))
      }),
      RUNS,
    )
  })

  test('skipTerm ends with the term', () => {
    fc.assert(
      fc.property(value, options, fc.uint8Array(), (original, encoding, behind) => {
        const term = encodeTerm(original, encoding)
        const bytes = Buffer.concat([term, behind])
        expect(skipTerm(bytes, 1, bytes.length)).toBe(term.length)
      }),
      RUNS,
    )
  })

  test('termToJson is the JSON of the decoded value', () => {
    fc.assert(
      fc.property(value, options, (original, encoding) => {
        const bytes = encodeTerm(original, encoding)
        const out = new ByteBuffer(16)
        termToJson(bytes, 1, bytes.length, out)
        deepStrictEqual(JSON.parse(out.toString()), JSON.parse(discordJson(decodeTerm(bytes))))
      }),
      RUNS,
    )
  })

  test('any bytes as text become the JSON string that a decoder reads', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const term = encodeTerm(bytes)
        const out = new ByteBuffer(16)
        termToJson(term, 1, term.length, out)
        const expected = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
        expect(JSON.parse(out.toString())).toBe(expected)
        expect(decodeTerm(term)).toBe(expected)
      }),
      RUNS,
    )
  })

  test('any 64-bit id reads the same as integer and as text, and prints in decimal', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (id) => {
        const out = new ByteBuffer(16)
        for (const form of [id, String(id)]) {
          const bytes = encodeTerm(form)
          expect(snowflakeAt(bytes, 1, bytes.length)).toBe(id)
          out.clear()
          termToJson(bytes, 1, bytes.length, out)
          expect(out.toString().replaceAll('"', '')).toBe(String(id))
        }
      }),
      RUNS,
    )
  })
})

describe('for any payload', () => {
  test('the envelope is found in any order, with any text in d', () => {
    const envelope = new Envelope()
    fc.assert(
      fc.property(
        fc.record({
          d: value,
          op: fc.integer({ min: 0, max: 300 }),
          s: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 2 ** 40 })),
          t: fc.oneof(fc.constant(null), fc.stringMatching(/^[A-Z_]{1,34}$/)),
        }),
        fc.shuffledSubarray(['d', 'op', 's', 't', 'x'], { minLength: 1 }),
        options,
        fc.boolean(),
        (payload, order, encoding, isNested) => {
          if (!order.includes('op')) order.push('op')
          // The frame as text within itself: a whole fake envelope, and its tail.
          const fake = encodeTerm(payload, encoding)
          const d = isNested
            ? { fake, tail: fake.subarray(fake.length >> 1), d: payload.d }
            : payload.d
          const fields: Record<string, unknown> = {
            ...payload,
            d,
            x: { y: [1] },
            t: atomOf(payload.t),
          }
          const bytes = encodeTerm(
            Object.fromEntries(order.map((name) => [name, fields[name]])),
            encoding,
          )
          expect(scanEnvelope(bytes, 0, bytes.length, envelope)).toBe(bytes.length)
          const decoded = decodeTerm(bytes, { atoms: 'string' }) as Record<string, unknown>
          expect(envelope.op).toBe(decoded.op)
          expect(envelope.sequence).toBe(decoded.s ?? -1)
          const name = Buffer.from(bytes.subarray(envelope.nameStart, envelope.nameEnd)).toString()
          expect(name).toBe(decoded.t ?? '')
          if (order.includes('d')) {
            expect(skipTerm(bytes, envelope.dStart, bytes.length)).toBe(envelope.dEnd)
          } else {
            expect(envelope.dStart).toBe(-1)
          }
        },
      ),
      RUNS,
    )
  })
})

describe('for any maps', () => {
  const edited = new ByteBuffer(16)

  test('merging and editing equal what objects do', () => {
    fc.assert(
      fc.property(map, map, options, options, (a, b, encodingA, encodingB) => {
        const left = encodeTerm(a, encodingA)
        const right = encodeTerm(b, encodingB)
        edited.clear()
        edited.writeByte(131)
        mergeMaps(left, 1, left.length, right, 1, right.length, edited)
        deepStrictEqual(decodeTerm(edited.view()), normal(union(a, b)))
        const drop = Object.keys(b).filter(isAscii)
        edited.clear()
        edited.writeByte(131)
        editMap(left, 1, left.length, { drop }, edited)
        const kept = Object.entries(a).filter(([name]) => !drop.includes(name))
        deepStrictEqual(decodeTerm(edited.view()), normal(Object.fromEntries(kept)))
      }),
      RUNS,
    )
  })

  test('FieldReader finds what the object has', () => {
    const paths = ['id', 'guild_id', 'user', 'user.id', 'user.user.id', 'd', '']
    const reader = new FieldReader(paths)
    fc.assert(
      fc.property(map, options, (object, encoding) => {
        const bytes = encodeTerm(object, encoding)
        expect(reader.read(bytes, 1, bytes.length)).toBe(bytes.length)
        paths.forEach((path, index) => {
          let found: unknown = object
          for (const name of path.split('.')) {
            found = isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined
          }
          const start = reader.starts[index]!
          expect(start === -1).toBe(found === undefined)
          if (start === -1) return
          const term = Buffer.concat([
            Buffer.from([131]),
            bytes.subarray(start, reader.ends[index]),
          ])
          deepStrictEqual(decodeTerm(term), normal(found))
        })
      }),
      RUNS,
    )
  })
})

function atomOf(name: string | null): Atom | null {
  return name === null ? null : new Atom(name)
}

function isObject(found: unknown): found is Record<string, unknown> {
  return typeof found === 'object' && found !== null && !Array.isArray(found)
}

function isAscii(name: string): boolean {
  return Buffer.byteLength(name) === name.length
}

function union(a: Record<string, unknown>, b: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries([...Object.entries(a), ...Object.entries(b)])
}

/** A value as decodeTerm gives it back: no minus zero, bigints only where a double would not do. */
function normal(original: unknown): unknown {
  if (Array.isArray(original)) return original.map(normal)
  if (typeof original === 'number') return original === 0 ? 0 : original
  if (typeof original === 'bigint') {
    const isSafe = original >= Number.MIN_SAFE_INTEGER && original <= Number.MAX_SAFE_INTEGER
    return isSafe ? Number(original) : original
  }
  if (!isObject(original)) return original
  return Object.fromEntries(Object.entries(original).map(([name, inner]) => [name, normal(inner)]))
}
