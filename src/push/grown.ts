type Numbers = Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

/** A copy of the array with room for `capacity` items; the rest is zero. */
export function grown<T extends Numbers>(array: T, capacity: number): T {
  const copy = new (array.constructor as new (length: number) => T)(capacity)
  copy.set(array)
  return copy
}
