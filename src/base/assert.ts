/** Stops on a programmer's error. Operating errors are BaseErrors, never assertions. */
export function assert(condition: unknown, invariant: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${invariant}`)
}
