/** A promise of the codec that an input broke. `name` tells kinds of findings apart. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly promise: string

  constructor(promise: string, details: string, cause?: unknown) {
    super(`${promise}: ${details}`, cause === undefined ? undefined : { cause })
    this.promise = promise
  }
}

export function hold(condition: boolean, promise: string, details: () => string): void {
  if (!condition) throw new Violation(promise, details())
}
