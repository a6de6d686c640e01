/** A copy of the array with room for `capacity` items; the rest is zero. */
export function grown(array: Int32Array<ArrayBuffer>, capacity: number): Int32Array<ArrayBuffer>
export function grown(array: Float64Array<ArrayBuffer>, capacity: number): Float64Array<ArrayBuffer>
export function grown(
  array: Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>,
  capacity: number,
): Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer> {
  const copy = array instanceof Int32Array ? new Int32Array(capacity) : new Float64Array(capacity)
  copy.set(array)
  return copy
}
