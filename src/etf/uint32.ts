/** The big-endian unsigned 32-bit number at `pos`: counts and lengths of the format. Bounds are the caller's. */
export function uint32At(bytes: Uint8Array, pos: number): number {
  return (
    ((bytes[pos]! << 24) | (bytes[pos + 1]! << 16) | (bytes[pos + 2]! << 8) | bytes[pos + 3]!) >>> 0
  )
}
