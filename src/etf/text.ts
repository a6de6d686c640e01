/** Bytes to strings. */

/** The same memory as a Buffer, whose toString knows ranges; a Buffer is returned as it is. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** What Buffer.toString calls behind its checks, which cost as much as a short text. */
type SlicingBuffer = Buffer & {
  utf8Slice(start: number, end: number): string
  latin1Slice(start: number, end: number): string
}

/** Up to here characters one by one are quicker than a call into the runtime. */
const SHORT_BYTES_MAX = 8

/** UTF-8 text; U+FFFD for what is not UTF-8, as the WHATWG's decoder does it. */
export function utf8Text(bytes: Uint8Array, start: number, end: number): string {
  return end - start <= SHORT_BYTES_MAX
    ? shortText(bytes, start, end)
    : (asBuffer(bytes) as SlicingBuffer).utf8Slice(start, end)
}

export function latin1Text(bytes: Uint8Array, start: number, end: number): string {
  return (asBuffer(bytes) as SlicingBuffer).latin1Slice(start, end)
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

function shortText(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  let pos = start
  for (; pos + 4 <= end; pos += 4) {
    const a = bytes[pos]!
    const b = bytes[pos + 1]!
    const c = bytes[pos + 2]!
    const d = bytes[pos + 3]!
    if ((a | b | c | d) >= 0x80) return asBuffer(bytes).toString('utf8', start, end)
    text += String.fromCharCode(a, b, c, d)
  }
  for (; pos < end; pos++) {
    const byte = bytes[pos]!
    if (byte >= 0x80) return asBuffer(bytes).toString('utf8', start, end)
    text += String.fromCharCode(byte)
  }
  return text
}
