import { readFileSync } from 'node:fs'

/** Bytes with what a real Erlang's binary_to_term made of them. */
export interface Vector {
  readonly name: string
  readonly category: string
  readonly bytes: Buffer
  readonly expected: unknown
  readonly isRefused: boolean
}

interface Row {
  name: string
  category: string
  hex: string
  expected: unknown
}

const file = new URL('../../fixtures/etf/erlang-vectors.json', import.meta.url)

export const vectors: readonly Vector[] = (JSON.parse(readFileSync(file, 'utf8')) as Row[]).map(
  (row) => ({
    name: row.name,
    category: row.category,
    bytes: Buffer.from(row.hex, 'hex'),
    expected: row.expected,
    isRefused: isTagged(row.expected, '$error'),
  }),
)

/** Erlang takes these (binary_to_term ignores what stands behind a term), we do not. */
const REFUSED_BY_US = new Set([
  'erlpack_old_float_as_written',
  'compressed_trailing_inner_bytes',
  'malformed_trailing_after_map',
  'malformed_trailing_byte_after_int',
])

/** Erlang refuses these (equal keys), we take the last. */
const TAKEN_BY_US = new Set([
  'malformed_map_duplicate_int_keys_mixed_encoding',
  'malformed_map_duplicate_bin_keys',
  'malformed_map_duplicate_atom_key_encodings',
])

export const accepted = vectors.filter(
  (vector) => !vector.isRefused && !REFUSED_BY_US.has(vector.name),
)
export const refused = vectors.filter(
  (vector) => (vector.isRefused && !TAKEN_BY_US.has(vector.name)) || REFUSED_BY_US.has(vector.name),
)
export const repeatedKeys = vectors.filter((vector) => TAKEN_BY_US.has(vector.name))

/** The value that decodeTerm promises (docs/etf.md) for what the vector file says in its notation. */
export function promised(expected: unknown): unknown {
  if (Array.isArray(expected)) return expected.map(promised)
  if (typeof expected !== 'object' || expected === null) return expected
  const row = expected as Record<string, unknown>
  const holds = (tag: string): boolean => tag in row
  if (holds('$big')) return BigInt(row.$big as string)
  if (holds('$float')) return Buffer.from(row.bits as string, 'hex').readDoubleBE()
  if (holds('$atom')) return row.$atom === 'null' ? null : row.$atom
  if (holds('$bin')) return new TextDecoder().decode(Buffer.from(row.$bin as string, 'hex'))
  if (holds('$tuple')) return (row.$tuple as unknown[]).map(promised)
  if (holds('$improper')) {
    return [...(row.$improper as unknown[]).map(promised), promised(row.tail)]
  }
  if (holds('$bits')) return bitString(row.$bits as { hex: string; bitlen: number })
  if (holds('$export')) {
    const [module, name, arity] = row.$export as [string, string, number]
    return `fun ${module}:${name}/${arity}`
  }
  for (const kind of ['$pid', '$port', '$ref']) {
    if (holds(kind)) return (row[kind] as string).replace('8823', 'node@10.0.0.1')
  }
  const pairs = holds('$map') ? (row.$map as [unknown, unknown][]) : Object.entries(row)
  return Object.fromEntries(pairs.map(([key, value]) => [keyName(key), promised(value)]))
}

function keyName(key: unknown): string {
  if (key === null) return 'nil'
  if (Array.isArray(key) && key.length === 0) return '[]'
  if (isTagged(key, '$atom')) return key.$atom as string
  if (isTagged(key, '$big')) return key.$big as string
  if (isTagged(key, '$tuple')) {
    // Of the vectors' tuples only {1,2} is a key.
    return `etf:${Buffer.from([104, 2, 97, 1, 97, 2]).toString('base64')}`
  }
  return String(key as string | number | boolean)
}

/** `{hex: 'e0', bitlen: 3}` → `<<7:3>>`. */
function bitString(bits: { hex: string; bitlen: number }): string {
  const bytes = [...Buffer.from(bits.hex, 'hex')]
  const used = bits.bitlen % 8
  const last = bytes.pop() ?? 0
  return `<<${[...bytes, `${last >>> (8 - used)}:${used}`].join(',')}>>`
}

function isTagged(value: unknown, tag: string): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && tag in value
}
