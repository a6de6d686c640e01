/**
 * Reads the fields of a request that came as a gRPC message or as JSON: the same names, ids as decimal text (or 64-bit
 * numbers turned into it by the loader). What is absent has its type's default.
 *
 * @throws ServerError SERVER_BAD_REQUEST with the field's name and what is expected.
 */
import { nearest } from '../../base/index.ts'
import { isSnowflake } from '../../discord/index.ts'
import { ServerError } from '../errors.ts'

export class Fields {
  readonly #values: Readonly<Record<string, unknown>>

  /** @param names every field that there is; another one is refused. */
  constructor(values: unknown, names: readonly string[], what: string) {
    if (values === null || typeof values !== 'object' || Array.isArray(values)) {
      throw bad(what, 'an object')
    }
    this.#values = values as Readonly<Record<string, unknown>>
    for (const name of Object.keys(values)) {
      if (names.includes(name)) continue
      const guess = nearest(name, names)
      const hint = guess === null ? `one of ${names.join(', ')}` : `${guess}, perhaps`
      throw bad(`${what} has no field ${JSON.stringify(name)}`, hint)
    }
  }

  has(name: string): boolean {
    const value = this.#values[name]
    return value !== undefined && value !== null
  }

  value(name: string): unknown {
    return this.#values[name]
  }

  /** Null when it is absent; 0 in a gRPC message is absent too. */
  id(name: string): bigint | null {
    if (!this.has(name) || this.#values[name] === '0') return null
    return idOf(name, this.#values[name])
  }

  ids(name: string, max: number): bigint[] {
    return this.#list(name, max).map((value) => idOf(name, value))
  }

  /** Shard ids. */
  integers(name: string, below: number): number[] {
    return this.#list(name, below).map((value) => {
      if (Number.isInteger(value) && Number(value) >= 0 && Number(value) < below)
        return Number(value)
      throw bad(name, `whole numbers from 0 to ${below - 1}`)
    })
  }

  list(name: string, max: number): readonly unknown[] {
    return this.#list(name, max)
  }

  text(name: string, bytesMax: number): string {
    const value = this.#values[name] ?? ''
    if (typeof value === 'string' && Buffer.byteLength(value) <= bytesMax) return value
    throw bad(name, `text of at most ${bytesMax} bytes`)
  }

  integer(name: string, min: number, max: number): number {
    const value = Number(this.#values[name] ?? 0)
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value
    throw bad(name, `a whole number from ${min} to ${max}`)
  }

  bool(name: string): boolean {
    const value = this.#values[name] ?? false
    if (typeof value === 'boolean') return value
    throw bad(name, 'true or false')
  }

  #list(name: string, max: number): readonly unknown[] {
    const value = this.#values[name] ?? []
    if (!Array.isArray(value)) throw bad(name, 'a list')
    if (value.length <= max) return value as readonly unknown[]
    throw bad(name, `at most ${max} of them`)
  }
}

function idOf(name: string, value: unknown): bigint {
  // A number in JSON has lost its last digits before it is seen here.
  if (typeof value === 'string' && isSnowflake(value)) return BigInt(value)
  throw bad(name, 'an id as decimal text')
}

export function bad(what: string, expected: string): ServerError {
  return new ServerError('SERVER_BAD_REQUEST', `${what}: expected ${expected}.`)
}
