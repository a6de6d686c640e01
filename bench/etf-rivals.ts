/** Codecs that others wrote, from the package of their own in tests/oracle. */
import { createRequire } from 'node:module'
import { join } from 'node:path'

export interface Erlpack {
  readonly pack: (value: unknown) => Buffer
  readonly unpack: (bytes: Buffer) => unknown
}

interface ErlangJs {
  readonly Erlang: {
    /** Calls back before it returns, unless the term is compressed. */
    readonly binary_to_term: (
      bytes: Buffer,
      callback: (error: Error | undefined, value: unknown) => void,
    ) => void
  }
}

export interface Rivals {
  readonly erlpack: Erlpack
  readonly unpackErlangJs: (bytes: Buffer) => unknown
}

/** @param projectDir the folder with package.json, wherever this was compiled to. */
export function loadRivals(projectDir: string): Rivals {
  const require = createRequire(join(projectDir, 'tests/oracle/package.json'))
  const { Erlang } = require('erlang_js') as ErlangJs
  let result: unknown
  const keep = (error: Error | undefined, value: unknown): void => {
    if (error !== undefined) throw error
    result = value
  }
  return {
    erlpack: require('erlpack') as Erlpack,
    unpackErlangJs: (bytes) => {
      Erlang.binary_to_term(bytes, keep)
      return result
    },
  }
}

/** What erlang_js reads is made of its own classes; this is the same as plain values. */
export function plainOfErlangJs(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const name = value.constructor.name
  const inner = (value as { value: unknown }).value
  if (name === 'OtpErlangAtom') return inner === 'nil' ? null : inner
  if (name === 'OtpErlangBinary') return (inner as Buffer).toString()
  if (name === 'OtpErlangList') return (inner as unknown[]).map(plainOfErlangJs)
  if (name !== 'OtpErlangMap') throw new TypeError(`erlang_js reads a ${name}`)
  const entries = [...(inner as Map<unknown, unknown>)]
  return Object.fromEntries(
    entries.map(([key, item]) => [String(plainOfErlangJs(key)), plainOfErlangJs(item)]),
  )
}
