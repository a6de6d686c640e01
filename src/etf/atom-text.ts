import { isUtf8 } from 'node:buffer'
import { badTerm, beyondLimit } from './errors.ts'
import { ATOM_BYTES_MAX, ATOM_CHARACTERS_MAX } from './limits.ts'
import { latin1Text, utf8Text } from './text.ts'
import { atomHeader } from './scalar.ts'

/**
 * The name of the atom in `bytes[start, end)`.
 *
 * @throws EtfError ETF_BAD_TERM when it is not UTF-8, ETF_LIMIT above 255 characters.
 */
export function atomText(bytes: Uint8Array, start: number, end: number): string {
  const tag = bytes[start]!
  const from = start + atomHeader(tag)
  if (tag === 100 || tag === 115) return latin1Text(bytes, from, end)
  checkAtomUtf8(bytes, start, from, end)
  return utf8Text(bytes, from, end)
}

/** Erlang refuses atoms that are not UTF-8 or longer than 255 characters. */
export function checkAtomUtf8(bytes: Uint8Array, start: number, from: number, end: number): void {
  let characters = 0
  let mixed = 0
  for (let pos = from; pos < end; pos++) {
    const byte = bytes[pos]!
    mixed |= byte
    if ((byte & 0xc0) !== 0x80) characters++
  }
  if (characters > ATOM_CHARACTERS_MAX) {
    throw beyondLimit(bytes[start]!, start, 'An atom', end - from, ATOM_BYTES_MAX)
  }
  if (mixed >= 0x80 && !isUtf8(bytes.subarray(from, end))) {
    throw badTerm(bytes[start]!, start, 'is an atom that is not UTF-8')
  }
}
