/**
 * Compressed terms.
 *
 *   | 131 | 80 | size u32 | zlib data … |      size = bytes of the term once inflated, its own
 *                                            tag first, no second version byte
 *
 * Only the outermost term can be compressed. Where the zlib data ends is known only by inflating it,
 * so even skipping such a term costs its inflation. Discord has never been seen to send one (the
 * transport is compressed instead), but the format allows it.
 * @see Erlang ext_dist, "Note: compressed terms"
 */
import { inflateSync } from 'node:zlib'
import { badTerm, beyondLimit } from './errors.ts'
import { INFLATED_BYTES_MAX } from './limits.ts'

const COMPRESSED = 80

export interface InflatedTerm {
  /** The inner term, without version byte. */
  readonly term: Uint8Array
  /** Offset behind the zlib data. */
  readonly end: number
}

/**
 * Inflates the compressed term whose tag 80 stands at `pos`.
 *
 * @returns null when the bytes end before the zlib stream does.
 * @throws EtfError ETF_LIMIT before inflating what claims to be larger than INFLATED_BYTES_MAX;
 *   ETF_BAD_TERM when the data is not zlib or not of the size that it claims.
 */
export function inflateTerm(bytes: Uint8Array, pos: number, end: number): InflatedTerm | null {
  if (end - pos < 5) return null
  const size =
    ((bytes[pos + 1]! << 24) |
      (bytes[pos + 2]! << 16) |
      (bytes[pos + 3]! << 8) |
      bytes[pos + 4]!) >>>
    0
  if (size > INFLATED_BYTES_MAX) {
    throw beyondLimit(COMPRESSED, pos, 'A compressed term', size, INFLATED_BYTES_MAX)
  }
  if (size === 0) throw badTerm(COMPRESSED, pos, 'claims to inflate to nothing')
  let result: { buffer: Buffer; engine: { bytesWritten: number } }
  try {
    result = inflateSync(bytes.subarray(pos + 5, end), {
      maxOutputLength: size,
      info: true,
    }) as unknown as typeof result
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'Z_BUF_ERROR') return null
    const why =
      code === 'ERR_BUFFER_TOO_LARGE'
        ? `inflates to more than the ${size} bytes that it claims`
        : 'does not inflate'
    throw badTerm(COMPRESSED, pos, why)
  }
  if (result.buffer.length !== size) {
    throw badTerm(COMPRESSED, pos, `inflates to ${result.buffer.length} bytes and claims ${size}`)
  }
  return { term: result.buffer, end: pos + 5 + result.engine.bytesWritten }
}
