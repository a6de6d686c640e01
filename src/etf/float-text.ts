import { badTerm } from './errors.ts'
import { latin1Text } from './text.ts'

/** `1.50000000000000000000e+00`, zero-padded to 31 bytes. @see Erlang ext_dist, FLOAT_EXT */
const FLOAT = /^[+-]?[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?\0*$/

/** A FLOAT_EXT (99), which Erlang wrote before R11B: a double as text of 31 bytes behind the tag at `start`. */
export function oldFloatAt(bytes: Uint8Array, start: number): number {
  const text = latin1Text(bytes, start + 1, start + 32)
  const value = FLOAT.test(text) ? Number.parseFloat(text) : Number.NaN
  if (!Number.isFinite(value)) throw badTerm(99, start, 'is no finite float')
  return value
}
