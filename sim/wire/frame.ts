/**
 * Websocket frames from server to client, written by hand so that a fault can cut, join and hold them.
 *
 *   FIN·RSV·opcode | 0·len7 | [len16 | len64] | payload          RFC 6455 §5.2, never masked by a server
 */
const CONTINUATION = 0
const FLUSH_BYTES = 4
export const TEXT = 1
export const BINARY = 2

/** One whole message as one frame; copies the payload. */
export function frameOf(opcode: number, payload: Uint8Array): Buffer {
  return frame(0x80 | opcode, payload)
}

/** One message as several frames: the first has the opcode, the last has FIN. */
export function fragmentsOf(opcode: number, payload: Uint8Array, count: number): Buffer[] {
  const pieces = cut(payload, count)
  return pieces.map((piece, index) =>
    frame((index === pieces.length - 1 ? 0x80 : 0) | (index === 0 ? opcode : CONTINUATION), piece),
  )
}

/** `bytes` in at most `count` pieces, none empty. */
export function cut(bytes: Uint8Array, count: number): Uint8Array[] {
  const size = Math.max(1, Math.ceil(bytes.length / count))
  const pieces: Uint8Array[] = []
  for (let pos = 0; pos < bytes.length; pos += size) pieces.push(bytes.subarray(pos, pos + size))
  return pieces.length === 0 ? [bytes] : pieces
}

/** The same, with the flush's 00 00 ff ff whole in the last piece: readers look for it there. */
export function cutStream(bytes: Uint8Array, count: number): Uint8Array[] {
  const pieces = cut(bytes.subarray(0, Math.max(0, bytes.length - FLUSH_BYTES)), count)
  const lastStart = bytes.length - FLUSH_BYTES - (pieces.at(-1)?.length ?? 0)
  return [...pieces.slice(0, -1), bytes.subarray(Math.max(0, lastStart))]
}

function frame(first: number, payload: Uint8Array): Buffer {
  const length = payload.length
  const head = length < 126 ? 2 : length < 0x1_0000 ? 4 : 10
  const bytes = Buffer.allocUnsafe(head + length)
  bytes[0] = first
  if (head === 2) {
    bytes[1] = length
  } else if (head === 4) {
    bytes[1] = 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 127
    bytes.writeUInt32BE(Math.floor(length / 0x1_0000_0000), 2)
    bytes.writeUInt32BE(length >>> 0, 6)
  }
  bytes.set(payload, head)
  return bytes
}
