/** Bytes to strings. */

/** The same memory as a Buffer, whose toString knows ranges; a Buffer is returned as it is. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** UTF-8 text; U+FFFD for what is not UTF-8, as the WHATWG's decoder does it. */
export function utf8Text(bytes: Uint8Array, start: number, end: number): string {
  return asBuffer(bytes).toString('utf8', start, end)
}

export function latin1Text(bytes: Uint8Array, start: number, end: number): string {
  return asBuffer(bytes).toString('latin1', start, end)
}

/** Whether the bytes are exactly the ASCII text `text`. */
export function isText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  const length = end - start
  if (length !== text.length) return false
  for (let i = 0; i < length; i++) {
    if (bytes[start + i] !== text.charCodeAt(i)) return false
  }
  return true
}
