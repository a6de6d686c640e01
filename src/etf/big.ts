import { beyondLimit } from './errors.ts'
import { BIG_BYTES_MAX } from './limits.ts'
import { asBuffer } from './text.ts'

/**
 * The big integer (110 or 111) that starts at `start`.
 *
 *   | 110 | n u8  | sign | n digits, little-endian |
 *   | 111 | n u32 | sign | n digits, little-endian |
 *
 * @param end behind the term.
 */
export function bigAt(bytes: Uint8Array, start: number, end: number): bigint {
  const header = bytes[start] === 110 ? 3 : 6
  const count = end - start - header
  if (count > BIG_BYTES_MAX) {
    throw beyondLimit(bytes[start]!, start, 'A big integer', count, BIG_BYTES_MAX)
  }
  if (count === 0) return 0n
  const digits = Buffer.from(asBuffer(bytes).subarray(start + header, end)).reverse()
  const magnitude = BigInt(`0x${digits.toString('hex')}`)
  return bytes[start + header - 1] === 0 ? magnitude : -magnitude
}
