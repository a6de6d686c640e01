/** A real Erlang writes, we read; we write, it reads. Where there is none, this says so. */
import { spawnSync } from 'node:child_process'
import { deepStrictEqual } from 'node:assert'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/index.ts'
import { ByteBuffer, decodeTerm, encodeTerm, skipTerm, termToJson } from '../../src/etf/index.ts'
import type { EncodeOptions } from '../../src/etf/index.ts'
import { findOnPath } from '../support/binaries.ts'
import { discordJson } from './support/discord-json.ts'

const TERMS = 2000
const VALUES = 3000
const SEED = Math.floor(Math.random() * 2 ** 31)
/** escript runs its program by `erl`. */
const escript = findOnPath('erl') === null ? null : findOnPath('escript')
const program = fileURLToPath(new URL('support/erlang-terms.escript', import.meta.url))

describe(`against a real Erlang (seed ${SEED})`, { timeout: 60_000 }, () => {
  test(`${TERMS} random terms of term_to_binary are read as what they are`, () => {
    if (escript === null) return sayNotRun()
    const out = new ByteBuffer()
    const rows = runErlang(escript, [String(TERMS), String(SEED)])
    expect(rows).toHaveLength(TERMS)
    for (const { term, bytes } of rows) {
      const expected = valueOf(term)
      for (const hex of new Set(bytes)) {
        const external = Buffer.from(hex, 'hex')
        deepStrictEqual(decodeTerm(external), expected, hex)
        expect(skipTerm(external, 1, external.length)).toBe(external.length)
        out.clear()
        termToJson(external, 1, external.length, out)
        deepStrictEqual(JSON.parse(out.toString()), JSON.parse(discordJson(expected)), hex)
      }
    }
  })

  test(`${VALUES} random values that we write are read as what they are`, () => {
    if (escript === null) return sayNotRun()
    const random = seededRandom(SEED)
    const values = Array.from({ length: VALUES }, () => randomValue(random, 4))
    const records = values.map((value, index) => {
      const term = encodeTerm(value, ENCODINGS[index % ENCODINGS.length])
      const length = Buffer.alloc(4)
      length.writeUInt32BE(term.length)
      return Buffer.concat([length, term])
    })
    const folder = mkdtempSync(join(tmpdir(), 'gateway-erlang-'))
    try {
      const file = join(folder, 'terms')
      writeFileSync(file, Buffer.concat(records))
      const rows = runErlang(escript, [file])
      expect(rows).toHaveLength(VALUES)
      for (const [index, { term }] of rows.entries()) {
        deepStrictEqual(valueOf(term), values[index], records[index]!.toString('hex'))
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

const ENCODINGS: readonly EncodeOptions[] = [
  {},
  { atoms: 115 },
  { atoms: 119, strings: true },
  { keys: 'atom', strings: true },
]

interface Row {
  readonly term: unknown
  readonly bytes: readonly string[]
}

function sayNotRun(): void {
  console.log('Not run: there is no Erlang (erl, escript; Debian: erlang-base) on the PATH.')
}

function runErlang(command: string, args: readonly string[]): Row[] {
  const { status, stdout, stderr } = spawnSync(command, [program, ...args], {
    encoding: 'utf8',
    maxBuffer: 512 * 1024 * 1024,
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  })
  if (status !== 0)
    throw new Error(`escript ended with ${status}: ${stderr}${stdout.slice(0, 500)}`)
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row)
}

/** The value that docs/etf.md promises for a term as the escript says it. */
function valueOf(said: unknown): unknown {
  if (Array.isArray(said)) return said.map(valueOf)
  if (typeof said !== 'object' || said === null) return said
  const row = said as Readonly<Record<string, unknown>>
  if ('$big' in row) return BigInt(row['$big'] as string)
  if ('$float' in row) return hexBytes(row['$float']).readDoubleBE()
  if ('$bin' in row)
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(hexBytes(row['$bin']))
  if ('$text' in row) return row['$text']
  if ('$atom' in row) {
    const name = hexBytes(row['$atom']).toString()
    return LITERALS.has(name) ? LITERALS.get(name) : name
  }
  const pairs = row['$map'] as readonly (readonly [unknown, unknown])[]
  return Object.fromEntries(pairs.map(([key, value]) => [keyOf(key), valueOf(value)]))
}

const LITERALS = new Map<string, unknown>([
  ['nil', null],
  ['null', null],
  ['true', true],
  ['false', false],
])

function keyOf(said: unknown): string {
  const value = valueOf(said)
  return value === null ? 'nil' : String(value as string | number)
}

function hexBytes(hex: unknown): Buffer {
  return Buffer.from(hex as string, 'hex')
}

function randomValue(random: () => number, depth: number): unknown {
  const below = (limit: number): number => Math.floor(random() * limit)
  const text = (): string =>
    String.fromCodePoint(
      ...Array.from(
        { length: below(12) },
        () =>
          [65 + below(26), below(128), 0xe0 + below(64), 0x4e00 + below(500), 0x1f600 + below(60)][
            below(5)
          ]!,
      ),
    )
  const count = (): number[] => Array.from({ length: below(6) })
  switch (below(depth === 0 ? 9 : 12)) {
    case 0:
      return [null, true, false][below(3)]
    case 1:
      return below(256)
    case 2:
      return below(2 ** 32) - 2 ** 31
    case 3:
      return (below(2) * 2 - 1) * below(2 ** 53) || 0
    case 4:
      return (BigInt(below(2 ** 53)) << BigInt(12 + below(2000))) + BigInt(2 ** 53)
    case 5:
      return -(BigInt(below(2 ** 32)) << 32n) - BigInt(2 ** 53)
    case 6:
      return (random() - 0.5) * 10 ** (below(600) - 300)
    case 7:
      return text()
    case 8:
      return []
    case 9:
      return count().map(() => below(256))
    case 10:
      return count().map(() => randomValue(random, depth - 1))
    default:
      return Object.fromEntries(count().map(() => [text(), randomValue(random, depth - 1)]))
  }
}
